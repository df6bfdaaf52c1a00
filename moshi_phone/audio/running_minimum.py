"""The minimum of the last values of a signal. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class RunningMinimum:
    """The minimum of the last ``count`` values, block by block.

    Args:
        count: the number of values; at least 2.
    """

    def __init__(self, count: int) -> None:
        self._last = np.full(count - 1, np.inf, np.float32)  # the values before the next block

    def add(self, values: Floats) -> Floats:
        """Add the next values, float32 ``[n]``; return the minimum at each of them, float32 ``[n]``."""
        parts = range(0, len(values), len(self._last))
        if len(parts) > 1:
            return np.concatenate([self.add(values[begin : begin + parts.step]) for begin in parts])
        # The minimum of the earlier values from each position on, and of the new ones up to each position.
        earlier = np.minimum.accumulate(self._last[::-1])[::-1][: len(values)]
        self._last = np.concatenate((self._last[len(values) :], values))
        minima: Floats = np.minimum(earlier, np.minimum.accumulate(values))
        return minima
