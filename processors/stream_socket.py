"""The WebSocket of a call's stream, which can break off and be replaced."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fastapi import WebSocket

from moshi_phone.runtime.direct_messages import DirectMessages, TakeText, direct_messages_of


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
        self._direct: DirectMessages | None = direct_messages_of(websocket)  # None on other servers
        # For this socket and its replacements: see DirectMessages.
        self._take: TakeText | None = None
        self._awaited_bytes: Callable[[], int] | None = None
        self._replaced = asyncio.Event()  # set once the lost socket is replaced

    def lose(self) -> None:
        """Continue without a socket."""
        self._connect(None)
        self.websocket = None
        self._replaced.clear()

    def replace(self, websocket: WebSocket) -> WebSocket | None:
        """Continue with another socket; return the previous one, unless it was lost."""
        before, self.websocket = self.websocket, websocket
        self._connect(direct_messages_of(websocket))
        self._replaced.set()
        return before

    def take_with(self, take: TakeText | None, awaited_bytes: Callable[[], int] | None = None) -> None:
        """Give text messages to ``take`` as they arrive, if the server can; with None, no longer."""
        self._take, self._awaited_bytes = take, awaited_bytes
        self._connect(self._direct)

    def send_now(self, message: str | bytes) -> bool:
        """Send a text, if that is possible at once; return whether it was sent."""
        return self._direct is not None and isinstance(message, str) and self._direct.send_now(message)

    def _connect(self, direct: DirectMessages | None) -> None:
        if self._direct is not None:
            self._direct.take_with(None)
        self._direct = direct
        if direct is not None:
            direct.take_with(self._take, self._awaited_bytes)

    async def replaced_within(self, secs: float) -> bool:
        """Wait for a replacement after a loss, for at most ``secs``; return whether there is one."""
        if secs > 0:
            try:
                async with asyncio.timeout(secs):
                    await self._replaced.wait()
            except TimeoutError:
                pass
        return self._replaced.is_set()
