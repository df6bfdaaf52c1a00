"""Logs what strangers do without letting them fill the log."""

from __future__ import annotations

import time
from collections.abc import Callable

from loguru import logger

EVERY_S = 10.0


class RefusalLog:
    """Writes a warning at most every ten seconds, with the count of those that were left out.

    Args:
        clock: gives seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next_s = clock()
        self._left_out = 0

    def warn(self, line: str) -> None:
        """Write the line, or count it."""
        now_s = self._clock()
        if now_s < self._next_s:
            self._left_out += 1
            return
        more = f" ({self._left_out} more were not logged)" if self._left_out else ""
        self._next_s, self._left_out = now_s + EVERY_S, 0
        logger.warning("{}{}", line, more)
