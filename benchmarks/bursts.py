"""Short sounds that can be located in the returned audio, to the sample. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import chirp, correlate

from moshi_phone.audio.formats import PHONE_RATE_HZ

EVERY_S = 1.6
_WANDER_S = 0.1  # so that bursts occur at all positions within a frame
_BURST_S = 0.05
_FOUND = 0.6  # share of a perfect correlation


def _burst() -> NDArray[np.float32]:
    times = np.arange(int(_BURST_S * PHONE_RATE_HZ)) / PHONE_RATE_HZ
    tone = chirp(times, 400, times[-1], 3000) * np.hanning(times.size)
    return np.asarray(0.5 * tone, np.float32)


BURST = _burst()


@dataclass(frozen=True)
class Talk:
    """A caller's audio: silence with bursts.

    Attributes:
        samples: float32 ``[n]``, 8 kHz.
        spoken: where each burst begins, in samples.
    """

    samples: NDArray[np.float32]
    spoken: tuple[int, ...]


def talk(secs: float, seed: int) -> Talk:
    """Generate a burst about every 1.6 s, each at another position within its 80 ms frame."""
    random = np.random.default_rng(seed)
    samples = np.zeros(int(secs * PHONE_RATE_HZ), np.float32)
    latest = samples.size - int(EVERY_S * PHONE_RATE_HZ)
    spoken = [
        int(at + random.integers(0, int(_WANDER_S * PHONE_RATE_HZ)))
        for at in range(PHONE_RATE_HZ // 2, latest, int(EVERY_S * PHONE_RATE_HZ))
    ]
    for at in spoken:
        samples[at : at + BURST.size] += BURST
    return Talk(samples, tuple(spoken))


def delays_s(said: Talk, heard: NDArray[np.float32]) -> list[float | None]:
    """Find each burst in the heard audio.

    Args:
        said: the caller's audio.
        heard: float32 ``[n]``, 8 kHz, the audio at the caller's ear, on the same clock.

    Returns:
        The delay of each burst from mouth to ear, in seconds; None for a lost one.
    """
    match = correlate(heard, BURST, "valid") / float(BURST @ BURST)
    window = int((EVERY_S - _WANDER_S) * PHONE_RATE_HZ)  # a longer one would contain the next burst
    found: list[float | None] = []
    for at in said.spoken:
        candidates = match[at : at + window]
        best = int(np.argmax(candidates)) if candidates.size else 0
        found.append(best / PHONE_RATE_HZ if candidates.size and candidates[best] > _FOUND else None)
    return found
