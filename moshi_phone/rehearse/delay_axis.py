"""A two-scale axis for delays: fine for nearly all of them, coarse up to the limit. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from moshi_phone.audio.percentiles import Percentiles

FINE_SHARE = 0.7  # share of the axis below the break
_WORTH_MS = 2.5  # break the axis if its range exceeds the fine part's by this factor
_ROOM = 1.25  # headroom above the values of a part
_SMALLEST_MS = 10.0  # a finer scale would show the measurement's own noise


@dataclass(frozen=True)
class DelayAxis:
    """The mapping of delays to positions on the axis.

    Attributes:
        top_ms: the delay at its upper end.
        break_ms: the delay at which the scale changes; None with one scale.
    """

    top_ms: float
    break_ms: float | None

    @classmethod
    def of(cls, delay_ms: ArrayLike, limit_ms: float) -> DelayAxis:
        """Create the axis for these delays; NaN values are ignored.

        Args:
            delay_ms: all delays to draw.
            limit_ms: also visible on the axis.
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
        """Map delays to positions: 0 is the lower end of the axis, 1 its upper end."""
        given = np.asarray(delay_ms, np.float64)
        if self.break_ms is None:
            return given / self.top_ms
        above = FINE_SHARE + (given - self.break_ms) * (1 - FINE_SHARE) / (self.top_ms - self.break_ms)
        return np.where(given <= self.break_ms, given * FINE_SHARE / self.break_ms, above)

    def inverse(self, place: ArrayLike) -> NDArray[np.float64]:
        """Map positions to delays."""
        given = np.asarray(place, np.float64)
        if self.break_ms is None:
            return given * self.top_ms
        above = self.break_ms + (given - FINE_SHARE) * (self.top_ms - self.break_ms) / (1 - FINE_SHARE)
        return np.where(given <= FINE_SHARE, given * self.break_ms / FINE_SHARE, above)

    def ticks_ms(self, limit_ms: float) -> list[float]:
        """Return the tick values: some below the break, the limit, and the maximum if it is far above."""
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
