"""Power of a spectrum. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def squared(spectrum: NDArray[np.complexfloating[Any, Any]]) -> NDArray[np.float32]:
    """Return the squared magnitude of each bin; ``abs`` would take a root of each in between."""
    power: NDArray[np.float32] = np.square(spectrum.real) + np.square(spectrum.imag)
    return power
