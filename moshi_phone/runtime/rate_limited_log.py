"""Limits the rate of log lines that strangers can cause."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from loguru import logger

EVERY_S = 10.0
_KIND_CHARS, _MAX_KINDS = 200, 64


class RateLimitedLog:
    """Logs a limited number of warnings within ten seconds, and counts the others.

    Args:
        clock: returns seconds, monotonic.
        lines: maximum number of lines in ten seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, lines: int = 1) -> None:
        self._clock = clock
        self._lines = lines
        self._window_ends_s = clock()  # closed: the first line opens a window
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


class RateLimitedRecords(logging.Filter):
    """Passes each kind of record of some loggers once in ten seconds, with the number of suppressed ones.

    A kind is the template of the message. Templates are a library's, not a stranger's, so they are few.

    Args:
        name: name of the logger, whose children are included.
        clock: returns seconds, monotonic.
    """

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(name)
        self._clock = clock
        self._kinds: dict[
            str, tuple[float, int]
        ] = {}  # time of the next permitted record, and number of suppressed ones

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is logged."""
        if not super().filter(record) or record.levelno > logging.WARNING:
            return True
        kind, now_s = str(record.msg)[:_KIND_CHARS], self._clock()
        next_s, left_out = self._kinds.get(kind, (now_s, 0))
        if now_s < next_s:
            self._kinds[kind] = next_s, left_out + 1
            return False
        # Cleared, not sorted: this many kinds are a bug elsewhere, and at worst a line is logged twice.
        if len(self._kinds) >= _MAX_KINDS:
            self._kinds.clear()
        self._kinds[kind] = now_s + EVERY_S, 0
        if left_out:
            record.msg, record.args = f"{record.getMessage()} ({left_out} more were not logged)", ()
        return True
