"""Disconnects peers that stop reading, stay silent or flood; shared by both protocols."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from loguru import logger

from moshi_phone.server.net.connections import CLOSE_TIMEOUT, INTERNAL, SEND_STALLED, Connection, Connections
from moshi_phone.server.net.read_gate import ReadGate, gated

UNSENT_BYTES = 16 * 1024  # 1.3 s of speech as Twilio's JSON; beyond that, reading and writing pause
FULL_BYTES = 16 * 1024  # beyond that unparsed data, reading pauses


class ConnectionGuard:
    """Checks a connection at intervals until it is lost.

    Args:
        loop: provides the clock and timers.
        transport: of the connection; its write buffer is reduced.
        connections: holds the limits and counts disconnections.
        connection: the entry of this connection there, which is cut off.
        overdue: takes the time in seconds; returns which deadline the connection has missed, or None.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
        connections: Connections,
        connection: Connection,
        overdue: Callable[[float], str | None] = lambda _: None,
    ) -> None:
        # asyncio's default of 64 KiB would hold five seconds of unsent speech.
        transport.set_write_buffer_limits(high=UNSENT_BYTES)
        self._loop = loop
        self._transport = transport
        self._connections = connections
        self._connection = connection
        self._overdue = overdue  # the protocol's own deadlines
        self._stalled_since_s: float | None = None  # since when the peer has read nothing
        self._closing_since_s: float | None = None  # since when our side has been closing
        self._is_extended = False  # whether the peer has had its one extra period after a suspension
        self._is_over = False
        connections.checks.add(self._look, loop)

    def writing_paused(self) -> None:
        """Record that the write buffer is full."""
        self._stalled_since_s = self._loop.time()

    def writing_resumed(self) -> None:
        """Record that the peer reads again."""
        self._stalled_since_s = None

    def stop(self) -> None:
        """Stop checking: the connection is lost, or another guard has it."""
        self._is_over = True
        self._connections.checks.remove(self._look)

    def cut_off(self, cause: str) -> None:
        """Abort the connection and count it."""
        if self._is_over:
            return  # already lost
        self.stop()
        self._transport.abort()
        self._connections.note_cut_off(self._connection, cause)

    def _look(self, was_suspended: bool) -> None:
        now_s = self._loop.time()
        if was_suspended and not self._is_extended:
            self._is_extended = True
            self._stalled_since_s = now_s if self._stalled_since_s is not None else None
            return
        self._is_extended = False
        if cause := self._cause(now_s):
            self.cut_off(cause)

    def _cause(self, now_s: float) -> str | None:
        limits = self._connections.limits
        if self._stalled_since_s is not None and now_s - self._stalled_since_s > limits.stalled_secs:
            return SEND_STALLED
        if self._transport.is_closing():
            # Closing waits until everything is sent, which never happens if the peer does not read.
            if self._closing_since_s is None:
                self._closing_since_s = now_s
            return CLOSE_TIMEOUT if now_s - self._closing_since_s > limits.closing_secs else None
        return self._overdue(now_s)


class WatchedProtocol(asyncio.Protocol):
    """Mixin for uvicorn's protocols; it comes first among a class's bases.

    It guards the connection and buffers incoming data, at most one read. The data is parsed in small pieces,
    in this connection's turns (``read_turns.py``).

    Args:
        connections: all connections of this server.
        uvicorn: positional arguments of uvicorn's protocols.
        named: their keyword arguments: configuration and state.
    """

    piece_bytes = 1024

    client: tuple[str, int] | None  # uvicorn's: address of the peer
    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop

    def __init__(self, connections: Connections, *uvicorn: Any, **named: Any) -> None:
        super().__init__(*uvicorn, **named)
        self._registry = connections
        self._watch: ConnectionGuard | None = None  # from connection_made to connection_lost
        self._unread = bytearray()  # data waiting for this connection's turn
        self._gate: ReadGate | None = None  # pauses reading

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start guarding the connection."""
        if isinstance(transport, ReadGate):  # left by the HTTP protocol before an upgrade
            transport = transport.ungated()
        gated_transport, self._gate = gated(cast("asyncio.Transport", transport), self._ask)
        super().connection_made(gated_transport)
        self._watch = ConnectionGuard(self.loop, self.transport, self._registry, self, self._overdue)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop guarding."""
        super().connection_lost(exc)
        self._unread.clear()
        self._registry.turns.forget(self)
        self._stop_watching()

    def data_received(self, data: bytes) -> None:
        """Buffer the data until this connection's turn."""
        self._unread += data
        self._regulate()
        self._ask()

    def parse_piece(self) -> bool:
        """Parse the next piece; return whether another can be parsed now."""
        if self._may_parse():
            self.parse_now(self._next_piece())
            self._regulate()
        return self._may_parse()

    def parse_now(self, piece: bytes) -> None:
        """Parse a piece; cut the connection off if that fails."""
        try:
            self._parse(piece)
        except Exception as error:  # uvicorn's or ours: the other connections must keep their turns
            self._registry.log.warn(f"A connection's bytes could not be parsed: {error!r}")
            logger.opt(exception=error).debug("A connection's bytes could not be parsed")
            self.cut_off(INTERNAL)

    def pause_writing(self) -> None:
        """Record that the peer is slow to read."""
        super().pause_writing()
        if self._watch:
            self._watch.writing_paused()

    def resume_writing(self) -> None:
        """Record that the peer reads again."""
        super().resume_writing()
        if self._watch:
            self._watch.writing_resumed()

    def cut_off(self, cause: str) -> None:
        """Abort the connection and drop unsent data."""
        self._unread.clear()
        if self._watch:
            self._watch.cut_off(cause)

    def shutdown(self) -> None:
        """Close the connection because the server stops. Never raises: the others must be closed as well."""
        try:
            super().shutdown()  # type: ignore[misc] # uvicorn's
        except Exception as error:  # a peer can bring the protocol into any state
            logger.debug("A connection could not be closed properly: {}", repr(error))
            self.transport.abort()

    def _parse(self, piece: bytes) -> None:
        super().data_received(piece)

    def _may_parse(self) -> bool:
        return bool(self._unread) and not self.transport.is_closing()

    def _overdue(self, now_s: float) -> str | None:  # noqa: ARG002 - protocols override it
        return None

    def _next_piece(self) -> bytes:
        piece = bytes(self._unread[: self.piece_bytes])
        del self._unread[: self.piece_bytes]
        return piece

    def _regulate(self) -> None:
        if self._gate:
            self._gate.set_full(len(self._unread) >= FULL_BYTES)

    def _ask(self) -> None:
        if self._may_parse():
            self._registry.turns.ask(self)

    def _wait(self) -> None:
        """Add the connection to those that wait to become a request or a call."""
        self._registry.wait(self, self.client[0] if self.client else None)

    def _stop_watching(self) -> None:
        if self._watch:
            self._watch.stop()
            self._watch = None
        self._registry.leave(self)
