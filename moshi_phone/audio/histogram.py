"""Histograms: quantiles of many values in little memory. Pure."""

from __future__ import annotations

import math
from itertools import accumulate

_FINE_MS = 0.5  # up to 500 ms; above it, slots of 10 ms
_FINE_SLOTS = 1_000
_FINE_END_MS = _FINE_MS * _FINE_SLOTS
_COARSE_MS = 10.0
_SLOTS = (
    1_201  # slot k counts values from the end of slot k - 1 to its own end; the last one all larger values
)


class Histogram:
    """Milliseconds, counted in slots: 0.5 ms wide up to half a second, 10 ms wide up to 2.5 s.

    Attributes:
        count: number of values.
        total_ms: their sum.
        max_ms: the largest; 0 without values.
    """

    def __init__(self) -> None:
        self.count = 0
        self.total_ms = 0.0
        self.max_ms = 0.0
        self._slots = [0] * _SLOTS  # 10 kB, independent of the number of values

    def add(self, ms: float) -> None:
        """Count a value; negative ones count as 0."""
        ms = max(0.0, ms)
        self.count += 1
        self.total_ms += ms
        self.max_ms = max(self.max_ms, ms)
        self._slots[_slot(ms)] += 1

    def include(self, other: Histogram) -> None:
        """Add the counts of another histogram."""
        self.count += other.count
        self.total_ms += other.total_ms
        self.max_ms = max(self.max_ms, other.max_ms)
        self._slots = [mine + theirs for mine, theirs in zip(self._slots, other._slots, strict=True)]

    def cumulative_count(self, ms: float) -> int:
        """Return the number of values up to this one; exact at the end of a slot."""
        return sum(self._slots[: _slot(ms) + 1])

    def quantile_ms(self, share: float) -> float:
        """Return a quantile, to the width of a slot; 0 without values."""
        wanted = share * self.count
        for slot, count in enumerate(accumulate(self._slots)):
            if count >= wanted:
                return min(_end_ms(slot), self.max_ms)
        return self.max_ms

    def summary(self) -> dict[str, float]:
        """Return count, mean and quantiles, for JSON."""
        return {
            "count": self.count,
            "total": round(self.total_ms, 3),
            "p50": round(self.quantile_ms(0.5), 1),
            "p95": round(self.quantile_ms(0.95), 1),
            "max": round(self.max_ms, 1),
        }


def _slot(ms: float) -> int:
    if ms <= _FINE_END_MS:
        return math.ceil(ms / _FINE_MS)
    return min(_FINE_SLOTS + math.ceil((ms - _FINE_END_MS) / _COARSE_MS), _SLOTS - 1)


def _end_ms(slot: int) -> float:
    if slot == _SLOTS - 1:
        return math.inf
    return slot * _FINE_MS if slot <= _FINE_SLOTS else _FINE_END_MS + (slot - _FINE_SLOTS) * _COARSE_MS
