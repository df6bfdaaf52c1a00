"""A token bucket: a number of events at once, and then a steady rate of them. Pure: time is an argument."""

from __future__ import annotations


class TokenBucket:
    """Limits a burst and a rate.

    Args:
        burst: number of tokens that a full bucket holds.
        refill_hz: tokens added each second.
        now_s: time at which it is full.
    """

    def __init__(self, burst: float, refill_hz: float, now_s: float) -> None:
        self._burst = burst
        self._refill_hz = refill_hz
        self._left, self._at_s = burst, now_s  # tokens left at that time

    def take(self, now_s: float) -> bool:
        """Take a token, also one that is missing; return whether there was one."""
        self._left, self._at_s = self._refilled(now_s) - 1, now_s
        return self._left >= 0

    def wait_s(self, now_s: float) -> float:
        """Return the seconds until there is a token; 0 if there is one."""
        return max(0.0, (1 - self._refilled(now_s)) / self._refill_hz)

    def _refilled(self, now_s: float) -> float:
        return min(self._burst, self._left + (now_s - self._at_s) * self._refill_hz)
