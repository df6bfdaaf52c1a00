"""Retries with growing pauses: a second at first, a minute at most."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Sequence

PAUSES_SECS = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)

Cancel = Callable[[], None]
CallLater = Callable[[float, Callable[[], None]], Cancel]
"""Runs a function after some seconds, in its own thread; calling the result cancels it."""

Sleep = Callable[[float], Awaitable[None]]
"""``asyncio.sleep``, or a fake of it in tests."""


class ExponentialBackoff:
    """Computes the pauses between attempts.

    Args:
        pauses_secs: the pauses in order; the last one repeats.
    """

    def __init__(self, pauses_secs: Sequence[float] = PAUSES_SECS) -> None:
        self._pauses_secs = pauses_secs
        self._tries = 0  # failed attempts in a row

    def next_secs(self) -> float:
        """Return the pause after a further failed attempt."""
        pause_secs = self._pauses_secs[min(self._tries, len(self._pauses_secs) - 1)]
        self._tries += 1
        return pause_secs

    def reset(self) -> None:
        """Start again with the shortest pause, after a success."""
        self._tries = 0


def later(secs: float, work: Callable[[], None]) -> Cancel:
    """See ``CallLater``. The thread does not keep the program from ending."""
    timer = threading.Timer(secs, work)
    timer.daemon = True
    timer.start()
    return timer.cancel
