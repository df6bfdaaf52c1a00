"""Replaces timers in tests."""

from __future__ import annotations

from collections.abc import Callable

from moshi_phone.runtime.retries import Cancel


class Laters:
    """Records delayed callbacks, and runs them when the test says so.

    Attributes:
        secs: the requested pauses, in order.
    """

    def __init__(self) -> None:
        self.secs: list[float] = []
        self._work: list[Callable[[], None]] = []

    def __call__(self, secs: float, work: Callable[[], None]) -> Cancel:
        """See ``CallLater``."""
        self.secs.append(secs)
        self._work.append(work)

        def cancel() -> None:
            if work in self._work:
                self._work.remove(work)

        return cancel

    def run(self) -> None:
        """Run the delayed callbacks now."""
        work, self._work = self._work, []
        for one in work:
            one()
