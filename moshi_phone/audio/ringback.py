"""The ringback tone, which a caller hears before the call is answered."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TONES_HZ = (440.0, 480.0)  # as in North America; understood everywhere
ON_S, OFF_S = 2.0, 4.0
LOUDNESS = 0.08  # of each of the two tones
EDGE_S = 0.01  # fade-in and fade-out, against clicks


def ringback(at_sample: int, samples: int, rate_hz: int) -> NDArray[np.float32]:
    """Generate a piece of the tone: float32 ``[samples]``, -1 to 1.

    Args:
        at_sample: start of the piece, in samples since the first ring.
        samples: its length.
        rate_hz: of the samples.
    """
    at_s = (at_sample + np.arange(samples)) / rate_hz
    # Past ON_S the edge is negative, and clipped to silence.
    in_ring_s = at_s % (ON_S + OFF_S)
    edge = np.clip(np.minimum(in_ring_s, ON_S - in_ring_s) / EDGE_S, 0.0, 1.0)
    tone = sum(np.sin(2 * np.pi * hz * at_s) for hz in TONES_HZ)
    return (LOUDNESS * edge * tone).astype(np.float32)
