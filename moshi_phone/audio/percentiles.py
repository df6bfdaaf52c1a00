"""How the values of what was measured many times spread. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True)
class Percentiles:
    """The spread of many values.

    Attributes:
        p50: the median.
        p95: 95 of 100 are no more than this.
        max: the largest.
    """

    p50: float
    p95: float
    max: float

    @classmethod
    def of(cls, values: ArrayLike) -> Percentiles | None:
        """Sum up the values that are numbers; None when none is."""
        given = np.asarray(values, np.float64)
        known = given[np.isfinite(given)]
        if not known.size:
            return None
        p50, p95 = np.quantile(known, [0.5, 0.95])
        return cls(float(p50), float(p95), float(known.max()))
