"""What uvicorn's two protocols have in common here: each connection is watched, and can be cut off."""

from __future__ import annotations

import asyncio
from typing import Any

from moshi_phone.server.net.connection_guard import PeerWatch
from moshi_phone.server.net.connections import Connections


class WatchedProtocol(asyncio.Protocol):
    """Goes before one of uvicorn's protocols in a class's bases.

    Args:
        connections: those of this server.
        uvicorn: what uvicorn gives its protocols.
        named: what uvicorn gives them by name: its configuration and state.
    """

    client: tuple[str, int] | None  # uvicorn's: where the connection comes from

    def __init__(self, connections: Connections, *uvicorn: Any, **named: Any) -> None:
        super().__init__(*uvicorn, **named)
        self.watched = connections
        self._watch: PeerWatch | None = None  # from the connection's beginning to its end

    def pause_writing(self) -> None:
        """Note that the other side is slow to take what is sent."""
        super().pause_writing()
        if self._watch:
            self._watch.writing_paused()

    def resume_writing(self) -> None:
        """Note that it takes something again."""
        super().resume_writing()
        if self._watch:
            self._watch.writing_resumed()

    def cut_off(self, cause: str) -> None:
        """End the connection at once, whatever is unsent."""
        if self._watch:
            self._watch.cut_off(cause)

    def _wait(self) -> None:
        """Enter it among those that wait to become a request or a call."""
        self.watched.wait(self, self.client[0] if self.client else None)

    def _stop_watching(self) -> None:
        if self._watch:
            self._watch.stop()
            self._watch = None
        self.watched.leave(self)
