"""Autoscaling: the number of workers that keeps some sessions free. Pure: time is an argument."""

from __future__ import annotations

import math
from collections import deque

CALM_SECS = 300.0


class Autoscaler:
    """Scales up at once, and down only after a calm period, because a model takes long to load.

    Args:
        spare_calls: number of sessions to keep free.
        min_workers: minimum number of workers.
        max_workers: maximum number of workers.
        calm_secs: how long a lower number must have sufficed before a scale-down.
    """

    def __init__(
        self, spare_calls: int, min_workers: int, max_workers: int, calm_secs: float = CALM_SECS
    ) -> None:
        self._spare_calls = spare_calls
        self._min, self._max = min_workers, max(min_workers, max_workers)
        self._calm_secs = calm_secs  # see the class docstring
        # (time, workers needed), with falling numbers: the first is the maximum of the last calm_secs.
        self._needed = deque[tuple[float, int]]()

    @property
    def min_workers(self) -> int:
        """Minimum number of workers."""
        return self._min

    def set_min_workers(self, count: int) -> None:
        """Set the minimum number of workers; capped at the maximum."""
        self._min = min(count, self._max)

    def wanted(self, sessions: int, capacity_each: int, now_s: float) -> int:
        """Return the number of workers to run.

        Args:
            sessions: sessions in use or reserved, on workers that take new calls.
            capacity_each: sessions of one worker; 0 while unknown.
            now_s: monotonic.
        """
        if capacity_each > 0:
            needed = math.ceil((sessions + self._spare_calls) / capacity_each)
            # An earlier, lower need can no longer be the maximum.
            while self._needed and self._needed[-1][1] <= needed:
                self._needed.pop()
            self._needed.append((now_s, needed))
        # Outside this block: entries expire even while the capacity is unknown.
        while self._needed and now_s - self._needed[0][0] > self._calm_secs:
            self._needed.popleft()
        most = self._needed[0][1] if self._needed else self._min
        return min(max(most, self._min), self._max)
