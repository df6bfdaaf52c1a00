"""An axis for delays: fine where nearly all of them are, coarse from there to the limit. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from moshi_phone.audio.percentiles import Percentiles

FINE_SHARE = 0.7  # of the axis, from its foot to the break
_WORTH_MS = 2.5  # a break is made where the axis would be so many times longer than what is in its fine part
_ROOM = 1.25  # above what lies in a part
_SMALLEST_MS = 10.0  # finer, and the measuring itself would be seen


@dataclass(frozen=True)
class DelayAxis:
    """Where a delay lies on the axis.

    Attributes:
        top_ms: at its upper end.
        break_ms: where the scale changes; None where one scale does for all.
    """

    top_ms: float
    break_ms: float | None

    @classmethod
    def of(cls, delay_ms: ArrayLike, limit_ms: float) -> DelayAxis:
        """Make the axis for these delays; numbers that are none do not count.

        Args:
            delay_ms: all that are to be drawn.
            limit_ms: is to be seen, too.
        """
        spread = Percentiles.of(delay_ms)
        if spread is None:
            return cls(limit_ms * _ROOM, None)
        top_ms = max(limit_ms, spread.max) * _ROOM
        fine_ms = max(_SMALLEST_MS, spread.p95 * _ROOM)
        ticks = np.asarray(MaxNLocator(4).tick_values(0, fine_ms))
        break_ms = float(ticks[ticks >= fine_ms - 1e-9][0])
        return cls(top_ms, break_ms if top_ms > _WORTH_MS * break_ms else None)

    def forward(self, delay_ms: ArrayLike) -> NDArray[np.float64]:
        """Return where delays lie: 0 is the foot of the axis, 1 its upper end."""
        given = np.asarray(delay_ms, np.float64)
        if self.break_ms is None:
            return given / self.top_ms
        above = FINE_SHARE + (given - self.break_ms) * (1 - FINE_SHARE) / (self.top_ms - self.break_ms)
        return np.where(given <= self.break_ms, given * FINE_SHARE / self.break_ms, above)

    def inverse(self, place: ArrayLike) -> NDArray[np.float64]:
        """Return which delays lie at these places."""
        given = np.asarray(place, np.float64)
        if self.break_ms is None:
            return given * self.top_ms
        above = self.break_ms + (given - FINE_SHARE) * (self.top_ms - self.break_ms) / (1 - FINE_SHARE)
        return np.where(given <= FINE_SHARE, given * self.break_ms / FINE_SHARE, above)

    def ticks_ms(self, limit_ms: float) -> list[float]:
        """Return where numbers stand: some below the break, the limit, and the worst where it is far off."""
        if self.break_ms is None:
            return _ticks_ms(self.top_ms, 6)
        worst_ms = self.top_ms / _ROOM
        return [
            *_ticks_ms(self.break_ms, 4),
            *([limit_ms] if limit_ms > self.break_ms else []),
            *([float(round(worst_ms, -1))] if worst_ms > 2 * limit_ms else []),
        ]


def _ticks_ms(up_to_ms: float, about: int) -> list[float]:
    ticks = np.asarray(MaxNLocator(about).tick_values(0, up_to_ms))
    return [float(tick) for tick in ticks[ticks <= up_to_ms]]
