"""Lets two sides pause one transport's reading: uvicorn's protocol and our parse buffer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast


class ReadGate:
    """Replaces a transport. It reads only while neither side has paused it.

    uvicorn's protocols pause and resume their transport as its only users.

    Args:
        transport: of the connection.
        on_resumed: called when uvicorn resumes reading.
    """

    def __init__(self, transport: asyncio.Transport, on_resumed: Callable[[], None]) -> None:
        self._transport = transport
        self._on_resumed = on_resumed
        self._is_paused = False  # by uvicorn
        self._is_full = False  # by us

    def __getattr__(self, name: str) -> Any:
        """Delegate everything else to the transport."""
        return getattr(self._transport, name)

    def ungated(self) -> asyncio.Transport:
        """Resume reading and return the transport itself, for another protocol."""
        self.set_full(False)
        self._transport.resume_reading()
        return self._transport

    def pause_reading(self) -> None:
        """Pause reading until ``resume_reading``."""
        self._is_paused = True
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Resume reading, unless our buffer is full."""
        self._is_paused = False
        if not self._is_full:
            self._transport.resume_reading()
        self._on_resumed()

    def set_full(self, is_full: bool) -> None:
        """Pause or resume reading, as our buffer is full or not."""
        if is_full == self._is_full:
            return
        self._is_full = is_full
        if self._transport.is_closing():
            return
        if is_full:
            self._transport.pause_reading()
        elif not self._is_paused:
            self._transport.resume_reading()


def gated(transport: asyncio.Transport, on_resumed: Callable[[], None]) -> tuple[asyncio.Transport, ReadGate]:
    """Return a transport for uvicorn, and its gate: the same object in two types."""
    gate = ReadGate(transport, on_resumed)
    return cast("asyncio.Transport", gate), gate
