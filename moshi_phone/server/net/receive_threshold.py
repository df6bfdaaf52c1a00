"""How many bytes must arrive before the event loop is woken to read a connection."""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import suppress

MAX_WAIT_S = 0.1  # a peer that stops in mid-frame is read after this time
_MAX_BYTES = 8 * 1024


class ReceiveThreshold:
    """Leaves incoming bytes in the kernel until there are enough of them.

    A phone's packets come 50 times a second, but only every fourth completes a frame. Most of the CPU time of
    a call is spent on wake-ups, not on the work. The end of the connection always wakes the loop.

    Args:
        transport: read at once, as usual, if it has no socket or the system is not Linux: elsewhere, a lower
            threshold may not wake the loop for what has arrived.
    """

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        has_option = sys.platform == "linux"
        self._socket: socket.socket | None = transport.get_extra_info("socket") if has_option else None
        self._loop = asyncio.get_running_loop()
        self._bytes = 1  # the threshold that is set
        self._release: asyncio.TimerHandle | None = None

    def wait_for(self, byte_count: int) -> None:
        """Wake the loop when this number of bytes waits, but after ``MAX_WAIT_S`` for any number.

        Args:
            byte_count: up to 1: as soon as anything arrives.
        """
        if self._release is not None:
            self._release.cancel()
            self._release = None
        self._set(min(max(1, byte_count), _MAX_BYTES))
        if self._bytes > 1:
            self._release = self._loop.call_later(MAX_WAIT_S, self.wait_for, 1)

    def _set(self, byte_count: int) -> None:
        if byte_count == self._bytes or self._socket is None:
            return
        with suppress(OSError, ValueError):  # closed: asyncio's error and uvloop's
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, byte_count)
            self._bytes = byte_count
