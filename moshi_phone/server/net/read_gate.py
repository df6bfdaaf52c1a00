"""A transport whose reading two sides may hold back: uvicorn's protocol, and what has read too far ahead."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast


class ReadGate:
    """Reads from a transport while neither side holds it back. Stands in for the transport.

    uvicorn's protocols pause and resume their transport as if nobody else did.

    Args:
        transport: of the connection.
        on_resumed: called when uvicorn resumes reading.
    """

    def __init__(self, transport: asyncio.Transport, on_resumed: Callable[[], None]) -> None:
        self._transport = transport
        self._on_resumed = on_resumed
        self._is_paused = False  # by uvicorn
        self._is_full = False  # by us; the transport reads only while neither holds it

    def __getattr__(self, name: str) -> Any:
        """Give everything else as the transport has it."""
        return getattr(self._transport, name)

    def ungated(self) -> asyncio.Transport:
        """Give the transport itself, reading, for another protocol."""
        self.set_full(False)
        self._transport.resume_reading()
        return self._transport

    def pause_reading(self) -> None:
        """Read nothing until ``resume_reading``."""
        self._is_paused = True
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again, unless too much has been read already."""
        self._is_paused = False
        if not self._is_full:
            self._transport.resume_reading()
        self._on_resumed()

    def set_full(self, is_full: bool) -> None:
        """Say whether enough has been read that waits to be parsed."""
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
    """Give a transport for uvicorn, and its gate."""
    gate = ReadGate(transport, on_resumed)
    return cast("asyncio.Transport", gate), gate
