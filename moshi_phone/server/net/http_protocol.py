"""uvicorn's HTTP, with time limits: for a request's head, for its body, and for taking the response."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from moshi_phone.server.net.connection_guard import ConnectionGuard, WatchedProtocol
from moshi_phone.server.net.connections import NO_BODY, NO_OVERRIDES, Connections


class HttpProtocol(WatchedProtocol, H11Protocol):
    """One connection, from its first byte to its end, or until it becomes a WebSocket.

    Args:
        connections: those of this server.
        uvicorn: what uvicorn gives its protocols.
        named: what uvicorn gives them by name: its configuration and state.
    """

    def __init__(self, connections: Connections, *uvicorn: Any, **named: Any) -> None:
        super().__init__(connections, *uvicorn, **named)
        self._waits_for: object = None  # one of h11's states
        self._since_s = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._watch = ConnectionGuard(self.loop, transport, self.watched, self, self._overdue)
        self._note_progress()

    def connection_lost(self, exc: Exception | None) -> None:
        """Watch no more."""
        super().connection_lost(exc)
        self._stop_watching()

    def handle_events(self) -> None:
        """Note how far the request has come."""
        super().handle_events()
        self._note_progress()

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        super().on_response_complete()
        self._waits_for = None
        self._note_progress()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Leave the connection to the WebSocket's own protocol, which watches it from here on."""
        self._stop_watching()
        super().handle_websocket_upgrade(event)

    def _note_progress(self) -> None:
        state = self.conn.their_state
        if self._watch is None or state is self._waits_for:
            return
        self._waits_for, self._since_s = state, self.loop.time()
        if state in (h11.IDLE, h11.SEND_BODY):
            self._wait()
        else:
            self.watched.leave(self)

    def _overdue(self, now_s: float) -> str | None:
        waited_s, limits = now_s - self._since_s, self.watched.limits
        if self._waits_for is h11.IDLE and waited_s > limits.head_secs:
            return NO_OVERRIDES
        if self._waits_for is h11.SEND_BODY and waited_s > limits.body_secs:
            return NO_BODY
        return None
