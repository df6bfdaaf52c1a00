"""Logs what strangers do without letting them fill the log."""

from __future__ import annotations

import time
from collections.abc import Callable

from loguru import logger

EVERY_S = 10.0


class RateLimitedLog:
    """Logs so many warnings within ten seconds, and the number of those that were left out.

    Args:
        clock: gives seconds, monotonic.
        lines: how many are logged within ten seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, lines: int = 1) -> None:
        self._clock = clock
        self._lines = lines
        self._window_ends_s = clock()
        self._logged = 0  # within the window
        self._left_out = 0  # since the last line

    def warn(self, line: str, **fields: object) -> None:
        """Log the line, or count it.

        Args:
            line: one sentence.
            fields: further values, for ``--log-format json``.
        """
        now_s = self._clock()
        if now_s >= self._window_ends_s:
            self._window_ends_s, self._logged = now_s + EVERY_S, 0
        if self._logged >= self._lines:
            self._left_out += 1
            return
        more = f" ({self._left_out} more were not logged)" if self._left_out else ""
        self._logged, self._left_out = self._logged + 1, 0
        logger.bind(**fields).warning("{}{}", line, more)
