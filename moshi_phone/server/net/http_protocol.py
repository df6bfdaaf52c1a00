"""uvicorn's HTTP with limits: on time for head, body and response, and on parsing work.

A response to an incomplete request closes the connection, so that the rest need not be read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from moshi_phone.server.net.connection_guard import WatchedProtocol
from moshi_phone.server.net.connections import NO_BODY, NO_REQUEST, Connections

MAX_LINES = 128  # of a head, or of a body's trailer; Twilio's heads have about twenty
_CLOSE = (b"connection", b"close")
_TOO_MANY_LINES = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
)

Send = Callable[[dict[str, Any]], Awaitable[None]]


class HttpProtocol(WatchedProtocol, H11Protocol):
    """One connection, from its first byte to its end, or until its upgrade to a WebSocket.

    Args:
        connections: all connections of this server.
        uvicorn: positional arguments of uvicorn's protocols.
        named: their keyword arguments: configuration and state.
    """

    def __init__(self, connections: Connections, *uvicorn: Any, **named: Any) -> None:
        super().__init__(connections, *uvicorn, **named)
        self.app = partial(self._run_app, self.app)
        self._waits_for: object = None  # h11's state when the wait began
        self._since_s = 0.0  # when it began, on the loop's clock
        self._has_responded = False  # to the current request
        self._has_begun = False  # whether bytes of the next request have come
        self._is_turn = False  # whether handle_events runs inside a turn (read_turns.py)
        self._has_events = False  # h11 holds bytes of a pipelined request

    def connection_made(self, transport: Any) -> None:
        """Start waiting for a request."""
        super().connection_made(transport)
        self._note_progress()

    def data_received(self, data: bytes) -> None:
        """Buffer the data until this connection's turn."""
        if not self._has_begun and self._waits_for is h11.IDLE:
            self._has_begun, self._since_s = True, self.loop.time()
        super().data_received(data)

    def handle_events(self) -> None:
        """Handle h11's events, in this connection's turn only."""
        if not self._is_turn:  # a response is complete, and a pipelined request follows
            self._has_events = True
            self._ask()
            return
        super().handle_events()
        self._note_progress()
        # h11 limits bytes, not lines: many short lines are slow to parse
        if not self.transport.is_closing() and self.conn.trailing_data[0].count(b"\n") > MAX_LINES:
            self.transport.write(_TOO_MANY_LINES)
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Answer malformed HTTP with 400, unless a response has begun."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()

    def on_response_complete(self) -> None:
        """Start waiting for the next request."""
        self._has_responded = True
        super().on_response_complete()
        self._waits_for = None
        self._note_progress()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection over to the WebSocket protocol, which guards it from now on."""
        self._stop_watching()
        early, self._unread = self.conn.trailing_data[0] + bytes(self._unread), bytearray()
        super().handle_websocket_upgrade(event)
        if early:  # bytes behind the upgrade request belong to the WebSocket
            self.transport.get_protocol().data_received(early)  # type: ignore[attr-defined]

    async def _run_app(self, app: Any, scope: Any, receive: Any, send: Send) -> None:
        """Run the app. Add ``Connection: close`` to its response if the connection must end."""

        async def send_and_close(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start" and self._must_close(scope):
                message = {**message, "headers": [*message.get("headers", ()), _CLOSE]}
            await send(message)

        try:
            await app(scope, receive, send_and_close)
        except Exception:
            if not self.transport.is_closing():
                raise
            # The rest of the request was malformed and already answered with 400.
            self.cycle.disconnected = True
        except asyncio.CancelledError:  # the server stops, and its grace period is over
            self.cycle.disconnected = True
            self.transport.abort()

    def _must_close(self, scope: Any) -> bool:
        names = {name for name, _ in scope["headers"]}
        # With both headers, a proxy may see another request here (RFC 9112, section 6.3).
        is_ambiguous = {b"content-length", b"transfer-encoding"} <= names
        return is_ambiguous or self.conn.their_state is h11.SEND_BODY

    def _parse(self, piece: bytes) -> None:
        self._is_turn, self._has_events = True, False
        try:
            super()._parse(piece) if piece else self.handle_events()
        finally:
            self._is_turn = False

    def _may_parse(self) -> bool:
        if self.transport is None or self.transport.is_closing() or self.flow.read_paused:
            return False
        return self._has_events or bool(self._unread)

    def _next_piece(self) -> bytes:
        return b"" if self._has_events else super()._next_piece()

    def _note_progress(self) -> None:
        state = self.conn.their_state
        if self._watch is None or state is self._waits_for:  # no guard: the connection was upgraded or lost
            return
        self._waits_for, self._since_s = state, self.loop.time()
        self._has_begun = state is not h11.IDLE or bool(self._unread or self.conn.trailing_data[0])
        if state in (h11.IDLE, h11.SEND_BODY):
            self._wait()
        else:
            self._registry.leave(self)

    def _overdue(self, now_s: float) -> str | None:
        waited_s, limits = now_s - self._since_s, self._registry.limits
        # Between requests uvicorn's keep-alive timeout applies: balancers hold idle connections.
        if self._waits_for is h11.IDLE and (self._has_begun or not self._has_responded):
            return NO_REQUEST if waited_s > limits.head_secs else None
        if self._waits_for is h11.SEND_BODY and waited_s > limits.body_secs:
            return NO_BODY
        return None
