"""Periodic checks of all connections, by one timer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from loguru import logger

from moshi_phone.runtime.watchdog import LATE_S

Check = Callable[[bool], None]
"""Checks a connection. Its argument is whether this process was suspended since the last check."""


class ConnectionChecks:
    """Calls the checks of all connections at the same times: each wake-up of the event loop costs CPU time.

    Args:
        interval_s: between two checks of a connection. The first one may come earlier.
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._checks: dict[Check, None] = {}  # in order of their addition
        self._timer: asyncio.TimerHandle | None = None  # while there are checks
        self._due_s = 0.0  # when the timer should fire; its delay reveals a suspended process

    def add(self, check: Check, loop: asyncio.AbstractEventLoop) -> None:
        """Call a check from now on, on this event loop."""
        self._checks[check] = None
        if self._timer is None:
            self._schedule(loop)

    def remove(self, check: Check) -> None:
        """Stop calling a check. May be called twice."""
        self._checks.pop(check, None)
        if not self._checks and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due_s = loop.time() + self._interval_s
        self._timer = loop.call_at(self._due_s, self._run, loop)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        was_suspended = loop.time() - self._due_s > LATE_S
        self._schedule(loop)
        for check in list(self._checks):
            try:
                if check in self._checks:  # another one may have removed it
                    check(was_suspended)
            except Exception:  # must not end the checks of the other connections
                logger.exception("A connection could not be checked")
