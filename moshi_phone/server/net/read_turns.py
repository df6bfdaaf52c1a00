"""Shares the event loop among connections whose bytes wait to be parsed.

Parsing is work that a stranger chooses: a read of 256 KiB can be 40,000 messages, and many connections have a
read each in one turn of the loop. Here all connections of a server share one queue. In each turn of the loop
they parse small pieces, one connection after the other, for at most two milliseconds in all; the next turn
comes after a pause of the same length, so that parsing never takes more than half of the loop's time.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

TURN_S = 0.002


class Reader(Protocol):
    """A connection with bytes to parse."""

    def parse_piece(self) -> bool:
        """Parse the next piece; tell whether another one could be parsed now. Must not raise."""


class ReadTurns:
    """Gives each connection its turn to parse.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock  # not the loop's own, which uvloop sets once a turn
        self._queue: deque[Reader] = deque()  # connections with unparsed bytes, first come, first served
        self._queued: set[int] = set()  # by identity: uvicorn's protocols are compared by it anyway
        self._scheduled = False  # whether a turn of the loop will come by here

    def ask(self, reader: Reader) -> None:
        """Queue a connection, unless it is queued already. Returns at once."""
        if id(reader) in self._queued:
            return
        self._queued.add(id(reader))
        self._queue.append(reader)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._turn)

    def forget(self, reader: Reader) -> None:
        """Take a connection out that is lost."""
        if id(reader) in self._queued:
            self._queued.discard(id(reader))
            self._queue.remove(reader)

    def _turn(self) -> None:
        loop = asyncio.get_running_loop()
        began_s = self._clock()
        elapsed_s = 0.0
        while self._queue and elapsed_s < TURN_S:
            reader = self._queue.popleft()
            self._queued.discard(id(reader))
            if reader.parse_piece():
                self.ask(reader)
            elapsed_s = self._clock() - began_s
        self._scheduled = bool(self._queue)
        if self._scheduled:
            loop.call_later(elapsed_s, self._turn)
