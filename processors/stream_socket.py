"""The WebSocket of a call's stream, which can break off and be replaced."""

from __future__ import annotations

import asyncio

from fastapi import WebSocket


class StreamSocket:
    """The WebSocket of a call's stream, which can break off and be replaced.

    Args:
        websocket: accepted.

    Attributes:
        websocket: the current one; None while the call has none.
        is_over: whether no replacement is awaited.
    """

    def __init__(self, websocket: WebSocket) -> None:
        self.websocket: WebSocket | None = websocket
        self.is_over = False
        self._replaced = asyncio.Event()  # set once the lost socket is replaced

    def lose(self) -> None:
        """Continue without a socket."""
        self.websocket = None
        self._replaced.clear()

    def replace(self, websocket: WebSocket) -> WebSocket | None:
        """Continue with another socket; return the previous one, unless it was lost."""
        before, self.websocket = self.websocket, websocket
        self._replaced.set()
        return before

    async def replaced_within(self, secs: float) -> bool:
        """Wait for a replacement after a loss, for at most ``secs``; return whether there is one."""
        if secs > 0:
            try:
                async with asyncio.timeout(secs):
                    await self._replaced.wait()
            except TimeoutError:
                pass
        return self._replaced.is_set()
