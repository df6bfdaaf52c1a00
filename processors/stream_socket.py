"""The WebSocket of a call's stream, which may break off and be replaced by another one."""

from __future__ import annotations

import asyncio

from fastapi import WebSocket


class StreamSocket:
    """The WebSocket of a call's stream, which may break off and be replaced by another one.

    Args:
        websocket: accepted.

    Attributes:
        websocket: the one in use; None while the call has none.
        is_over: whether no other one is waited for.
    """

    def __init__(self, websocket: WebSocket) -> None:
        self.websocket: WebSocket | None = websocket
        self.is_over = False
        self._replaced = asyncio.Event()

    def lose(self) -> None:
        """Go on without a socket."""
        self.websocket = None
        self._replaced.clear()

    def replace(self, websocket: WebSocket) -> WebSocket | None:
        """Go on with another socket; gives the one before, where it was not lost."""
        before, self.websocket = self.websocket, websocket
        self._replaced.set()
        return before

    async def replaced_within(self, secs: float) -> bool:
        """Wait for another socket after a loss, for at most so long; gives whether there is one."""
        if secs > 0:
            try:
                async with asyncio.timeout(secs):
                    await self._replaced.wait()
            except TimeoutError:
                pass
        return self._replaced.is_set()
