"""Counts many values in little memory, and knows their median and the like. Pure."""

from __future__ import annotations

import numpy as np

_SLOTS = 1_200
_FINE_MS = 0.5  # up to 500 ms; above it, slots of 10 ms
_FINE_SLOTS = 1_000
_COARSE_MS = 10.0


class Tally:
    """Milliseconds, counted in slots: 0.5 ms wide up to half a second, 10 ms wide up to 2.5 s.

    Attributes:
        count: how many values came.
        total_ms: their sum.
        max_ms: the largest; 0 when there is none.
    """

    def __init__(self) -> None:
        self.count = 0
        self.total_ms = 0.0
        self.max_ms = 0.0
        self._slots = np.zeros(_SLOTS, np.int64)

    def add(self, ms: float) -> None:
        """Count a value; less than nothing counts as nothing."""
        ms = max(0.0, ms)
        self.count += 1
        self.total_ms += ms
        self.max_ms = max(self.max_ms, ms)
        fine_end_ms = _FINE_SLOTS * _FINE_MS
        slot = ms / _FINE_MS if ms < fine_end_ms else _FINE_SLOTS + (ms - fine_end_ms) / _COARSE_MS
        self._slots[min(int(slot), _SLOTS - 1)] += 1

    def quantile_ms(self, share: float) -> float:
        """Give the value that this share of all does not exceed, to the width of a slot; 0 when none came."""
        if not self.count:
            return 0.0
        slot = int(np.searchsorted(np.cumsum(self._slots), share * self.count, side="left")) + 1
        if slot <= _FINE_SLOTS:
            return min(slot * _FINE_MS, self.max_ms)
        return min(_FINE_SLOTS * _FINE_MS + (slot - _FINE_SLOTS) * _COARSE_MS, self.max_ms)

    def summary(self) -> dict[str, float]:
        """Sum up, for JSON."""
        return {
            "count": self.count,
            "total": round(self.total_ms, 3),
            "p50": round(self.quantile_ms(0.5), 1),
            "p95": round(self.quantile_ms(0.95), 1),
            "max": round(self.max_ms, 1),
        }
