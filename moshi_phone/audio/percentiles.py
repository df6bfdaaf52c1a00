"""Percentiles of measured values. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Percentiles of many values.

    Attributes:
        p50: the median.
        p95: the 95th percentile.
        max: the largest.
    """

    p50: float
    p95: float
    max: float

    @classmethod
    def of(cls, values: ArrayLike) -> Percentiles | None:
        """Compute the percentiles of the finite values; None if there are none."""
        given = np.asarray(values, np.float64)
        known = given[np.isfinite(given)]
        if not known.size:
            return None
        p50, p95 = np.quantile(known, [0.5, 0.95])
        return cls(float(p50), float(p95), float(known.max()))
