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

    Attributes:
        is_running: whether it is started, and neither stopped nor expired.
    """

    def __init__(self, secs: float, on_expired: Callable[[], None]) -> None:
        self._secs = secs
        self._on_expired = on_expired
        # pause() leaves it running: a new timer for each frame took a hundredth of a call's processor time.
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = 0.0  # when it expires: how late it does shows whether the process was frozen
        self._is_extended = False  # whether a frozen process has had its one extra period
        self.is_running = False

    def start(self) -> None:
        """Start or restart the timeout."""
        self._is_extended = False
        self._wait()

    def pause(self) -> None:
        """Cancel the timeout, which soon starts again."""
        self.is_running = False

    def stop(self) -> None:
        """Cancel the timeout. May be called twice."""
        self.is_running = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        self.is_running = True
        self._due_s = asyncio.get_running_loop().time() + self._secs
        if self._timer is None:
            self._arm()

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_at(self._due_s, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self.is_running:
            return
        late_s = asyncio.get_running_loop().time() - self._due_s
        if late_s < 0:  # restarted meanwhile
            self._arm()
        elif late_s > LATE_S and not self._is_extended:
            self._is_extended = True
            self._wait()
        else:
            self.is_running = False
            self._on_expired()
