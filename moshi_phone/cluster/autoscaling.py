"""How many workers there should be, so that some sessions are free. Pure: time comes in as an argument."""

from __future__ import annotations

import math
from collections import deque

CALM_SECS = 300.0


class Autoscaler:
    """Asks for more workers at once, and for fewer only after some time: a model takes long to load.

    Args:
        spare_calls: so many sessions are to be free.
        min_workers: how few there may be.
        max_workers: how many there may be.
        calm_secs: for how long fewer must have been enough.
    """

    def __init__(
        self, spare_calls: int, min_workers: int, max_workers: int, calm_secs: float = CALM_SECS
    ) -> None:
        self._spare_calls = spare_calls
        self._min, self._max = min_workers, max(min_workers, max_workers)
        self._calm_secs = calm_secs  # how long the need must have been lower before workers end
        self._needed = deque[tuple[float, int]]()  # falling; the first is the most of the last calm_secs

    @property
    def min_workers(self) -> int:
        """How few there may be."""
        return self._min

    def set_min_workers(self, count: int) -> None:
        """Change how few there may be; never above the most."""
        self._min = min(count, self._max)

    def wanted(self, sessions: int, capacity_each: int, now_s: float) -> int:
        """Say how many workers there should be.

        Args:
            sessions: taken at workers that take new calls, reserved ones among them.
            capacity_each: how many sessions one worker has; 0 while that is not known.
            now_s: monotonic.
        """
        if capacity_each > 0:
            needed = math.ceil((sessions + self._spare_calls) / capacity_each)
            while self._needed and self._needed[-1][1] <= needed:
                self._needed.pop()
            self._needed.append((now_s, needed))
        while self._needed and now_s - self._needed[0][0] > self._calm_secs:
            self._needed.popleft()
        most = self._needed[0][1] if self._needed else self._min
        return min(max(most, self._min), self._max)
