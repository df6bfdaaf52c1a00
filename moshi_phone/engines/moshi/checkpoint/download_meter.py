"""Progress lines of a download, one every few percent. Pure: time is an argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO

from moshi_phone.engines.duplex import Progress

STEP_SHARE = 0.03
SMALL_BYTES = 50_000_000  # smaller files arrive too fast for a progress line
MEGABYTE, GIGABYTE = 1e6, 1e9
MINUTE_S = 60.0


class DownloadMeter:
    """Formats the progress of one download, with the time left at the average speed.

    Args:
        file: the file's name.
        total_bytes: its size.
        done_bytes: bytes left by an earlier attempt.
        now_s: monotonic.
    """

    def __init__(self, file: str, total_bytes: int, done_bytes: int, now_s: float) -> None:
        self._file = file
        self._total_bytes = total_bytes
        # The speed counts this attempt's bytes only.
        self._first_bytes = done_bytes
        self._said_bytes = done_bytes  # in the last line
        self._began_s = now_s

    def line(self, done_bytes: int, now_s: float) -> str | None:
        """Return the next progress line if one is due, else None.

        Args:
            done_bytes: bytes of the file so far.
            now_s: monotonic.
        """
        is_due = abs(done_bytes - self._said_bytes) >= STEP_SHARE * self._total_bytes
        if self._total_bytes < SMALL_BYTES or not is_due or done_bytes >= self._total_bytes:
            return None
        self._said_bytes = done_bytes
        unit, name = (GIGABYTE, "GB") if self._total_bytes >= GIGABYTE else (MEGABYTE, "MB")
        digits = 1 if unit == GIGABYTE else 0
        done, total = (f"{size / unit:.{digits}f}" for size in (done_bytes, self._total_bytes))
        line = f"Fetching {self._file}: {done} of {total} {name}"
        fetched_bytes, took_s = done_bytes - self._first_bytes, now_s - self._began_s
        if fetched_bytes <= 0 or took_s <= 0:
            return f"{line}."
        left_s = (self._total_bytes - done_bytes) * took_s / fetched_bytes
        return f"{line}, {_in_words(left_s)} left."


class MeteredFile:
    """A file that reports progress on each write; it has the methods that ``http_get`` uses.

    Args:
        file: opened for appending.
        meter: formats the lines.
        progress: receives the lines.
        clock: seconds, monotonic.
    """

    def __init__(
        self, file: IO[bytes], meter: DownloadMeter, progress: Progress, clock: Callable[[], float]
    ) -> None:
        self._file = file
        self._meter = meter
        self._progress = progress
        self._clock = clock
        self.seek, self.tell, self.truncate = file.seek, file.tell, file.truncate

    def write(self, data: bytes) -> int:
        """Write, and report progress if a line is due."""
        written = self._file.write(data)
        if line := self._meter.line(self._file.tell(), self._clock()):
            self._progress(line)
        return written


def _in_words(secs: float) -> str:
    if secs < MINUTE_S:
        return "less than a minute"
    minutes = round(secs / MINUTE_S)
    if minutes < 2 * MINUTE_S:
        return f"{minutes} minute{'' if minutes == 1 else 's'}"
    return f"{minutes / MINUTE_S:.0f} hours"
