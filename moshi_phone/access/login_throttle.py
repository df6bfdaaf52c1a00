"""Limits password guesses. Pure: time comes from an injected clock.

A source that fails five times is locked out for a second, then two, four, … and at most a minute; the right
password resets the count. So one source has 1,440 guesses a day and not 1,140 a second, and a stranger who
shares a source with the owner (behind a proxy) locks the owner out only while the guessing lasts. All sources
together may fail 60 times at once and then once a second: a proxy may forward a forged source with each
guess. Devices that have sent the password are counted separately, so none of this locks them out.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from moshi_phone.access.token_bucket import TokenBucket

FREE_FAILURES = 5  # wrong passwords without a lock
MAX_LOCK_S = 60.0
FORGOTTEN_AFTER_S = 15 * 60.0  # then a source's failures are dropped
ALL_FAILURES = 60  # of all sources together, at once
ALL_REFILL_HZ = 1.0
_MAX_SOURCES = 4096  # bounds the memory; beyond that, the oldest source is dropped


class LoginThrottle:
    """Counts failures by source, and returns how long each must wait.

    Args:
        clock: returns seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()  # number, time of the last
        self._all_failures = TokenBucket(ALL_FAILURES, ALL_REFILL_HZ, clock())

    def wait_s(self, source: str, *, is_known: bool = False) -> float:
        """Return the seconds until this source's password will be checked; usually 0.

        Args:
            source: an address, or a device.
            is_known: whether it has sent the password before; then the failures of others do not count.
        """
        count, last_s = self._failures.get(source, (0, 0.0))
        own_s = last_s + _lock_s(count) - self._clock() if count >= FREE_FAILURES else 0.0
        all_s = 0.0 if is_known else self._all_failures.wait_s(self._clock())
        return max(0.0, own_s, all_s)

    def failed(self, source: str, *, is_known: bool = False) -> int:
        """Count a wrong password; return the source's number of failures."""
        now_s = self._clock()
        self._forget(now_s)
        count = self._failures.pop(source, (0, 0.0))[0] + 1
        self._failures[source] = (count, now_s)
        if not is_known:
            self._all_failures.take(now_s)
        return count

    def passed(self, source: str) -> None:
        """Reset the failures of a source that sent the right password."""
        self._failures.pop(source, None)

    def _forget(self, now_s: float) -> None:
        while self._failures:
            source, (_, last_s) = next(iter(self._failures.items()))
            if now_s - last_s < FORGOTTEN_AFTER_S and len(self._failures) < _MAX_SOURCES:
                return
            del self._failures[source]


def _lock_s(failures: int) -> float:
    return min(MAX_LOCK_S, 2.0 ** min(failures - FREE_FAILURES, 10))
