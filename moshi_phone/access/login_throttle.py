"""How often a password may be guessed. Pure: time comes from the clock that it is given.

Whoever fails five times is locked out, for a second, then two, four, … and at most a minute; who is right in
between starts anew. So one source has 1,440 guesses a day and not 1,140 a second, and a stranger who shares
a source with the owner (a proxy that names nobody) cannot keep the owner out for longer than it goes on.
All sources together may fail 60 times at once and then once a second: behind a proxy that passes on what a
client claims to be, each guess looks like a new source. Devices that have shown the password are counted by
themselves, so none of this, whoever does it, locks them out.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

FREE_FAILURES = 5
MAX_LOCK_S = 60.0
FORGOTTEN_AFTER_S = 15 * 60.0
ALL_FAILURES = 60
ALL_REFILL_HZ = 1.0
_MAX_SOURCES = 4096


class LoginThrottle:
    """Counts failures by source, and says who must wait.

    Args:
        clock: gives seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()  # how many, and when the last
        self._left = float(ALL_FAILURES)
        self._left_at_s = clock()

    def wait_s(self, source: str, *, is_known: bool = False) -> float:
        """Say for how long this source must wait before its password is looked at: mostly 0.

        Args:
            source: an address, or a device.
            is_known: it has shown the password before, so the failures of others do not matter.
        """
        count, last_s = self._failures.get(source, (0, 0.0))
        own_s = last_s + _lock_s(count) - self._clock() if count >= FREE_FAILURES else 0.0
        all_s = 0.0 if is_known else (1 - self._refilled()) / ALL_REFILL_HZ
        return max(0.0, own_s, all_s)

    def failed(self, source: str, *, is_known: bool = False) -> int:
        """Count a wrong password; give how many the source has shown by now."""
        now_s = self._clock()
        self._forget(now_s)
        count = self._failures.pop(source, (0, 0.0))[0] + 1
        self._failures[source] = (count, now_s)
        if not is_known:
            self._left, self._left_at_s = self._refilled() - 1, now_s
        return count

    def passed(self, source: str) -> None:
        """Forget the failures of a source that knew the password."""
        self._failures.pop(source, None)

    def _refilled(self) -> float:
        return min(ALL_FAILURES, self._left + (self._clock() - self._left_at_s) * ALL_REFILL_HZ)

    def _forget(self, now_s: float) -> None:
        while self._failures:
            source, (_, last_s) = next(iter(self._failures.items()))
            if now_s - last_s < FORGOTTEN_AFTER_S and len(self._failures) < _MAX_SOURCES:
                return
            del self._failures[source]


def _lock_s(failures: int) -> float:
    return min(MAX_LOCK_S, 2.0 ** min(failures - FREE_FAILURES, 10))
