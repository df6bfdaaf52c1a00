"""A timeout that allows for a process that was suspended.

A paused virtual machine, SIGSTOP or a closed laptop stop everything but the clock. Afterwards every timer has
expired, although the watched work has had no time. A timer that itself fires more than a second late detects
that, and allows one more period.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

LATE_S = 1.0


class Watchdog:
    """Calls back unless it is stopped in time. Used on the event loop.

    Args:
        secs: the timeout.
        on_expired: called once, after it.
    """

    def __init__(self, secs: float, on_expired: Callable[[], None]) -> None:
        self._secs = secs
        self._on_expired = on_expired
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = 0.0  # when the timer should fire: how late it does shows whether the process was frozen
        self._is_extended = False  # whether a frozen process has had its one extra period

    @property
    def is_running(self) -> bool:
        """Whether it is started, and neither stopped nor expired."""
        return self._timer is not None

    def start(self) -> None:
        """Start or restart the timeout."""
        self.stop()
        self._wait()

    def stop(self) -> None:
        """Cancel the timeout. May be called twice."""
        self._is_extended = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        self._due_s = loop.time() + self._secs
        self._timer = loop.call_at(self._due_s, self._expire)

    def _expire(self) -> None:
        late_s = asyncio.get_running_loop().time() - self._due_s
        if late_s > LATE_S and not self._is_extended:
            self._is_extended = True
            self._wait()
            return
        self._timer = None
        self._on_expired()
