"""Shares the event loop's time among connections with unparsed data.

The peer determines the cost of parsing: a read of 256 KiB can hold 40,000 messages, and many connections
can each have a read in one iteration of the loop. Therefore all connections of a server share one queue. In
each iteration they parse small pieces in turn, for at most two milliseconds in all. The next turn follows
after a pause of the same length, so that parsing takes at most half of the loop's time.
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
        """Parse the next piece; return whether another can be parsed now. Must not raise."""


class ReadTurns:
    """Schedules parsing, round-robin.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock  # not the loop's clock, which uvloop sets once per iteration
        self._queue: deque[Reader] = deque()  # connections with unparsed bytes, in order of arrival
        self._queued: set[int] = set()  # by identity: as uvicorn's protocols compare
        self._scheduled = False  # whether the loop will call _turn

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
        """Remove a lost connection."""
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
