"""Load of this server: whether another call would delay the running ones.

Two things are measured. The event loop's lag is the delay of a timer; every packet of every call waits as
long. A deadline miss is a frame for which a stage of the engine took longer than the frame lasts.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from loguru import logger

EVERY_S = 0.2
WINDOW_S = 5.0
HIGH_LAG_S, LOW_LAG_S = 0.040, 0.020  # two thresholds (hysteresis); docs/benchmarks.md has the measurements
HIGH_MISSES, LOW_MISSES = 0.2, 0.05  # share of frames; thresholds as above
FROZEN_S = 1.0  # a longer lag is a suspended process, not load
_SAMPLES = round(WINDOW_S / EVERY_S)
_P95 = round(0.95 * (_SAMPLES - 1))


class Load:
    """Evaluates the load of the last five seconds. Pure.

    Attributes:
        lag_s: 95th percentile of the loop's lag; 0 until five seconds were measured.
        misses: share of frames that missed their deadline, 0 to 1.
        is_high: whether another call would delay the running ones.
    """

    def __init__(self) -> None:
        self.lag_s = 0.0
        self.misses = 0.0
        self.is_high = False
        self._lags_s: deque[float] = deque(maxlen=_SAMPLES)  # one sample per 0.2 s, for 5 s
        # Totals of frames and misses, at the same times.
        self._frames: deque[tuple[int, int]] = deque(maxlen=_SAMPLES)

    def note(self, lag_s: float, frames: int, missed_frames: int) -> None:
        """Add a sample.

        Args:
            lag_s: lag of the loop, in seconds.
            frames: frames answered since the start of the process.
            missed_frames: those of them that missed their deadline.
        """
        if lag_s > FROZEN_S:
            self._lags_s.clear()  # older samples say nothing about the time after
            self._frames.clear()
        self._lags_s.append(min(lag_s, FROZEN_S))
        self._frames.append((frames, missed_frames))
        if len(self._lags_s) < _SAMPLES:  # too few to judge
            return
        self.lag_s = sorted(self._lags_s)[_P95]  # numpy's quantile is thirty times slower
        before, now = self._frames[0], self._frames[-1]
        answered, missed = now[0] - before[0], now[1] - before[1]
        self.misses = missed / answered if answered > 0 else 0.0
        if self.is_high:  # hysteresis, so that it does not toggle
            self.is_high = self.lag_s > LOW_LAG_S or self.misses > LOW_MISSES
        else:
            self.is_high = self.lag_s > HIGH_LAG_S or self.misses > HIGH_MISSES

    @property
    def reason(self) -> str | None:
        """Why no further call is accepted, in one sentence; None if calls are accepted."""
        if not self.is_high:
            return None
        late_ms, missed = 1000 * self.lag_s, 100 * self.misses
        return f"the server is overloaded: timers are {late_ms:.0f} ms late, {missed:.0f} % of frames slow"


async def watch_load(load: Load, count_frames: Callable[[], tuple[int, int]]) -> None:
    """Measure the load until cancelled.

    Args:
        load: receives the samples.
        count_frames: returns the number of frames answered, and of those that missed their deadline.
    """
    loop = asyncio.get_running_loop()
    while True:
        due_s = loop.time() + EVERY_S
        await asyncio.sleep(EVERY_S)
        was_high = load.is_high
        load.note(max(0.0, loop.time() - due_s), *count_frames())
        if load.is_high and not was_high:
            logger.warning("Refusing new calls: {}", load.reason)
        elif was_high and not load.is_high:
            logger.info("Accepting calls again: the load is back to normal")
