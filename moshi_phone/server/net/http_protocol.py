"""uvicorn's HTTP, with bounds: on the time for a request's head, its body, and taking the response; on work.

A response to a request that is not whole closes the connection: nothing obliges us to read the rest.
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

MAX_LINES = 128  # of a head, or of a body's trailer; Twilio's heads have some twenty
_CLOSE = (b"connection", b"close")
_TOO_MANY_LINES = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
)

Send = Callable[[dict[str, Any]], Awaitable[None]]


class HttpProtocol(WatchedProtocol, H11Protocol):
    """One connection, from its first byte to its end, or until it becomes a WebSocket.

    Args:
        connections: those of this server.
        uvicorn: what uvicorn gives its protocols.
        named: what uvicorn gives them by name: its configuration and state.
    """

    def __init__(self, connections: Connections, *uvicorn: Any, **named: Any) -> None:
        super().__init__(connections, *uvicorn, **named)
        self.app = partial(self._run_app, self.app)
        self._waits_for: object = None  # one of h11's states
        self._since_s = 0.0  # when it began to wait for that
        self._has_responded = False  # to the request of now
        self._has_begun = False  # to send its next request
        self._is_turn = False
        self._has_events = False  # h11 has bytes of a request that came behind another one

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._note_progress()

    def data_received(self, data: bytes) -> None:
        """Keep what was read until it is this connection's turn."""
        if not self._has_begun and self._waits_for is h11.IDLE:
            self._has_begun, self._since_s = True, self.loop.time()
        super().data_received(data)

    def handle_events(self) -> None:
        """Take what h11 has understood, when it is this connection's turn."""
        if not self._is_turn:  # a response is complete, and another request waits behind it
            self._has_events = True
            self._ask()
            return
        super().handle_events()
        self._note_progress()
        if not self.transport.is_closing() and self.conn.trailing_data[0].count(b"\n") > MAX_LINES:
            self.transport.write(_TOO_MANY_LINES)
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, unless an answer to its beginning is on its way."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        self._has_responded = True
        super().on_response_complete()
        self._waits_for = None
        self._note_progress()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Leave the connection to the WebSocket's own protocol, which watches it from here on."""
        self._stop_watching()
        early, self._unread = self.conn.trailing_data[0] + bytes(self._unread), bytearray()
        super().handle_websocket_upgrade(event)
        if early:  # what has been read behind the handshake is the WebSocket's
            self.transport.get_protocol().data_received(early)  # type: ignore[attr-defined]

    async def _run_app(self, app: Any, scope: Any, receive: Any, send: Send) -> None:
        """Run the app, and say with its response that the connection ends, where it does."""

        async def send_and_close(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start" and self._must_close(scope):
                message = {**message, "headers": [*message.get("headers", ()), _CLOSE]}
            await send(message)

        try:
            await app(scope, receive, send_and_close)
        except Exception:
            if not self.transport.is_closing():
                raise
            # Its rest was malformed, and was answered with 400: this answer comes too late.
            self.cycle.disconnected = True
        except asyncio.CancelledError:  # the server ends, and has waited long enough
            self.cycle.disconnected = True
            self.transport.abort()

    def _must_close(self, scope: Any) -> bool:
        names = {name for name, _ in scope["headers"]}
        # With both, the other side of a proxy may have read another request (RFC 9112, section 6.3).
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
        if self._watch is None or state is self._waits_for:
            return
        self._waits_for, self._since_s = state, self.loop.time()
        self._has_begun = state is not h11.IDLE or bool(self._unread or self.conn.trailing_data[0])
        if state in (h11.IDLE, h11.SEND_BODY):
            self._wait()
        else:
            self.watched.leave(self)

    def _overdue(self, now_s: float) -> str | None:
        waited_s, limits = now_s - self._since_s, self.watched.limits
        # Between two requests it may stay as long as uvicorn lets it (its keep-alive): balancers do.
        if self._waits_for is h11.IDLE and (self._has_begun or not self._has_responded):
            return NO_REQUEST if waited_s > limits.head_secs else None
        if self._waits_for is h11.SEND_BODY and waited_s > limits.body_secs:
            return NO_BODY
        return None
