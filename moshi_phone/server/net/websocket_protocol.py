"""uvicorn's WebSocket, with bounds on what one connection can make us keep, and on how long it may take.

uvicorn's own takes in whatever one read gives (256 KiB can be 40,000 messages or pings), and answers every
ping, whether or not the answers are read: 690 MB in 38 s from one connection. Here a read is taken apart in
small pieces, nothing is read while the other side takes nothing, and pings have a rate.
"""

from __future__ import annotations

import asyncio
import socket
from asyncio.transports import BaseTransport
from contextlib import suppress
from typing import Any, cast

from starlette.websockets import WebSocket
from uvicorn._types import ASGIReceiveEvent  # the types of uvicorn's own interface have no other home
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

from moshi_phone.server.net.connection_guard import ConnectionGuard, WatchedProtocol
from moshi_phone.server.net.connections import FLOOD, FRAGMENTS, NO_PONG, Connections

EXTENSION = "moshi_phone.connection"
PIECE_BYTES = 4 * 1024  # at most 680 messages, the smallest having 6 bytes
_KERNEL_UNSENT_BYTES = 32 * 1024  # 2.7 s of speech; more would only hide for longer that nobody reads
_CONTROL_BURST, _CONTROL_PER_S = 50.0, 10.0  # a phone company's own pings come some seconds apart
_MAX_FRAGMENTS = 64
_NO_UTF_8 = 1007  # RFC 6455, section 7.4
_SHUTDOWN_SECS = 0.5


class WebSocketProtocol(WatchedProtocol, WebSocketsSansIOProtocol):
    """One WebSocket, from its handshake to its end.

    Args:
        connections: those of this server.
        uvicorn: what uvicorn gives its protocols.
        named: what uvicorn gives them by name: its configuration and state.
    """

    def __init__(self, connections: Connections, *uvicorn: Any, **named: Any) -> None:
        super().__init__(connections, *uvicorn, **named)
        self.close_timeout = connections.limits.closing_secs
        self._unread = b""
        self._control_left, self._control_at_s = _CONTROL_BURST, self.loop.time()

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin to wait for what makes it a call."""
        super().connection_made(transport)
        if underneath := transport.get_extra_info("socket"):
            with suppress(OSError):  # a bound that the system may not offer
                underneath.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_UNSENT_BYTES)
        self._watch = ConnectionGuard(self.loop, self.transport, self.watched, self)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Watch no more."""
        super().connection_lost(exc)
        self._unread = b""
        self._stop_watching()

    async def run_asgi(self) -> None:
        """Tell the app of the connection, which it needs to end it (see ``connection_of``)."""
        extensions = cast("dict[str, dict[str, Any]]", self.scope["extensions"])
        extensions[EXTENSION] = {"connection": self}
        await super().run_asgi()

    def admitted(self) -> None:
        """Note that it is a call now, and waits no more."""
        self.watched.leave(self)

    def cut_off(self, cause: str) -> None:
        """End the connection at once, whatever is unsent."""
        self._unread = b""
        super().cut_off(cause)

    def shutdown(self) -> None:
        """Close it because the server stops; whoever does not read that loses it."""
        super().shutdown()
        self.loop.call_later(_SHUTDOWN_SECS, self.transport.abort)

    # What comes in

    def data_received(self, data: bytes) -> None:
        """Take in as much as the app, and the other side, have room for."""
        self._unread += data
        self._take_in()

    async def receive(self) -> ASGIReceiveEvent:
        """Give the app the next message."""
        message = await super().receive()
        if self._unread:
            self._take_in()
            await asyncio.sleep(0)  # a flood must leave the other calls their turns
        if not self.writable.is_set():
            self.transport.pause_reading()
        return message

    def pause_writing(self) -> None:
        """Read nothing while the other side takes nothing: each ping would make one more answer."""
        super().pause_writing()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Read again."""
        super().resume_writing()
        self._take_in()
        if not self.read_paused:
            self.transport.resume_reading()

    def _take_in(self) -> None:
        while self._unread and not self.read_paused and self.writable.is_set():
            piece, self._unread = self._unread[:PIECE_BYTES], self._unread[PIECE_BYTES:]
            super().data_received(piece)

    def handle_ping(self) -> None:
        """Answer, within reason."""
        if self._may_control() and not self.transport.is_closing():
            super().handle_ping()

    def handle_pong(self, event: Frame) -> None:
        """Take an answer, within reason."""
        if self._may_control():
            super().handle_pong(event)

    def handle_cont(self, event: Frame) -> None:
        """Take one more piece of a message; empty ones would count towards no limit of bytes."""
        if len(self.frames) >= _MAX_FRAGMENTS:
            self.cut_off(FRAGMENTS)
            return
        super().handle_cont(event)

    def send_receive_event_to_app(self) -> None:
        """Pass a message on; one that is no UTF-8 closes the connection, without uvicorn's traceback."""
        if self.curr_msg_data_type == "text" and not self.close_sent:
            self.frames = [b"".join(self.frames)]
            try:
                self.frames[0].decode()
            except UnicodeDecodeError:
                self.frames = []
                self.conn.send_close(_NO_UTF_8)
                self.handle_parser_exception()
                return
        super().send_receive_event_to_app()

    def keepalive_timeout(self) -> None:
        """Cut off who answers no ping. A farewell would only wait behind what was not read either."""
        super().keepalive_timeout()
        self.cut_off(NO_PONG)

    def _may_control(self) -> bool:
        now_s = self.loop.time()
        left = self._control_left + (now_s - self._control_at_s) * _CONTROL_PER_S
        self._control_left, self._control_at_s = min(left, _CONTROL_BURST) - 1, now_s
        if self._control_left < 0:
            self.cut_off(FLOOD)
        return self._control_left >= 0


def connection_of(websocket: WebSocket) -> WebSocketProtocol | None:
    """Give the connection under a WebSocket; None on another server than ours (pipecat's runner, tests)."""
    extension = websocket.scope.get("extensions", {}).get(EXTENSION, {})
    connection = extension.get("connection")
    return connection if isinstance(connection, WebSocketProtocol) else None
