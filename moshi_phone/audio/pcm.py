"""The only conversion between 16-bit PCM and float audio.

Full scale is 32,768: −1.0 is the sample −32,768, and +1.0 clips to 32,767.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FULL_SCALE = 32_768.0


def to_float(pcm: bytes) -> NDArray[np.float32]:
    """Convert 16-bit little-endian mono PCM to float32 ``[samples]``, −1 to 1.

    Raises:
        ValueError: when the bytes are not a whole number of samples.
    """
    return np.frombuffer(pcm, "<i2").astype(np.float32) * np.float32(1 / FULL_SCALE)


def to_bytes(samples: NDArray[np.float32]) -> bytes:
    """Convert float32 ``[samples]`` to 16-bit little-endian mono PCM; values beyond ±1 are clipped."""
    scaled = samples * np.float32(FULL_SCALE)
    np.rint(scaled, out=scaled)  # truncation would create a dead zone around zero
    # A cast does not saturate: +1.0 would become the lowest sample.
    np.minimum(scaled, np.float32(32_767), out=scaled)
    np.maximum(scaled, np.float32(-32_768), out=scaled)
    return scaled.astype("<i2").tobytes()


def to_mono(pcm: bytes, channels: int) -> bytes:
    """Mix interleaved 16-bit little-endian PCM down to one channel; an incomplete last sample is dropped."""
    whole = len(pcm) // (2 * channels) * 2 * channels
    samples = np.frombuffer(pcm[:whole], "<i2").reshape(-1, channels)
    mono: NDArray[np.float64] = samples.mean(axis=1)
    return np.rint(mono).astype("<i2").tobytes()
