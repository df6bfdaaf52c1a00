"""A non-speech signal: three short tones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TONE_HZ = 950.0
TONE_MS, PAUSE_MS, TONES = 120, 120, 3
EDGE_MS = 10  # fade-in and fade-out, against clicks
LOUDNESS = 0.15


def beeps(rate_hz: int) -> NDArray[np.float32]:
    """Generate the signal at a sample rate: float32 ``[samples]``, -1 to 1."""
    samples, pause = rate_hz * TONE_MS // 1000, rate_hz * PAUSE_MS // 1000
    at_s = np.arange(samples) / rate_hz
    edge = np.clip(np.minimum(at_s, at_s[::-1]) * 1000 / EDGE_MS, 0.0, 1.0)
    tone = LOUDNESS * edge * np.sin(2 * np.pi * TONE_HZ * at_s)
    return np.tile(np.concatenate([tone, np.zeros(pause)]), TONES).astype(np.float32)
