"""Alignment of the caller's words with the returned audio: lag and correlation, frame by frame.

Each frame of 80 ms is located with its neighbours (a window of 320 ms) by normalized cross-correlation. This
measures the delay by content, independent of how frames are cut or counted on the way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moshi_phone.audio.formats import PHONE_FRAME_SAMPLES, PHONE_RATE_HZ
from moshi_phone.audio.silence import SILENCE_RMS

Samples = NDArray[np.float32]

_MARGIN_SAMPLES = 960  # the window extends 120 ms to either side of its frame
_MAX_S = 6.0  # longest lag searched
_SCOUTS = 40  # frames searched over the full range; the others only near their lags
_ALIKE = 0.6  # speech in equally loud noise has 0.7; other speech reaches 0.5 by chance
_SCOUTS_AGREE = 0.4  # the others may fall into gaps, or under the bot's voice
_AS_GOOD = 0.97  # of two peaks within this ratio the earlier one counts
_SPREAD_S = 0.25  # how far jitter and trimmed pauses may shift single frames
_APART_FRAMES = 25  # 2 s: long enough to show a small drift; a single jump affects few pairs


@dataclass(frozen=True, slots=True)
class Alignment:
    """The position of the caller's frames in the returned audio.

    Attributes:
        lag_samples: each frame's lag; float64 ``[frames]``, NaN where the caller was silent or the frame was
            not found.
        correlation: the correlation at that lag, 0 to 1; float64 ``[frames]``, NaN in the same places.
    """

    lag_samples: NDArray[np.float64]
    correlation: NDArray[np.float64]

    @property
    def clock_skew(self) -> float:
        """Relative clock skew of the returned words: 0.01 is a clock 1 % slow."""
        change = self.lag_samples[_APART_FRAMES:] - self.lag_samples[:-_APART_FRAMES]
        known = change[np.isfinite(change)]
        return float(np.median(known)) / (_APART_FRAMES * PHONE_FRAME_SAMPLES) if known.size else 0.0


def align(said: Samples, heard: Samples) -> Alignment | None:
    """Locate the caller's words in the returned audio.

    Args:
        said: float32 ``[n]``, 8 kHz.
        heard: float32 ``[m]``, 8 kHz, beginning at the same moment.

    Returns:
        None when the returned audio does not contain the words.
    """
    frames = len(said) // PHONE_FRAME_SAMPLES
    loud = [
        k for k in range(frames) if _is_loud(said[k * PHONE_FRAME_SAMPLES : (k + 1) * PHONE_FRAME_SAMPLES])
    ]
    if not loud:
        return None
    longest = int(_MAX_S * PHONE_RATE_HZ)
    scouts = [_find(said, heard, k, 0, longest) for k in loud[:: max(1, len(loud) // _SCOUTS)]]
    found = np.array([lag for lag, correlation in scouts if correlation >= _ALIKE])
    if len(found) < _SCOUTS_AGREE * len(scouts):
        return None
    spread = int(_SPREAD_S * PHONE_RATE_HZ)
    low, high = (int(edge) for edge in np.quantile(found, [0.1, 0.9]))
    # Frames that agree on a lag; a wide spread means chance matches.
    near = (found >= low - spread) & (found <= high + spread)
    if near.sum() < _SCOUTS_AGREE * len(scouts) or high - low > PHONE_RATE_HZ:
        return None
    lags, likenesses = np.full(frames, np.nan), np.full(frames, np.nan)
    for k in loud:
        lag, correlation = _find(said, heard, k, max(0, low - spread), high + 2 * spread)
        if correlation >= _ALIKE:
            lags[k], likenesses[k] = lag, correlation
    return Alignment(lags, likenesses)


def _is_loud(samples: Samples) -> bool:
    return bool(np.mean(np.square(samples)) > SILENCE_RMS**2)


def _find(said: Samples, heard: Samples, frame: int, lowest: int, highest: int) -> tuple[int, float]:
    """Return the frame's best lag from lowest to highest, and its correlation."""
    from scipy.signal import correlate  # noqa: PLC0415 - takes half a second, which --help need not wait for

    begin = max(0, frame * PHONE_FRAME_SAMPLES - _MARGIN_SAMPLES)
    window = said[begin : (frame + 1) * PHONE_FRAME_SAMPLES + _MARGIN_SAMPLES]
    region = heard[begin + lowest : begin + highest + len(window)]
    if len(region) < len(window):
        return 0, 0.0
    products = correlate(region, window, mode="valid", method="fft")
    # float64: a quiet window's energy, a difference of long sums, would vanish in float32.
    energy = np.cumsum(np.concatenate(([0.0], np.square(region, dtype=np.float64))))
    energies = energy[len(window) :] - energy[: -len(window)]
    floor = len(window) * SILENCE_RMS**2 / 10  # near-silence correlates with nothing
    correlation = products / np.sqrt(
        np.maximum(energies, floor) * np.sum(np.square(window, dtype=np.float64))
    )
    best = _earliest_best(correlation)
    return lowest + best, float(correlation[best])


def _earliest_best(correlation: NDArray[np.float64]) -> int:
    """Return the first peak about as high as the best: a caller may repeat the same words."""
    good_enough = _AS_GOOD * float(correlation.max())
    for begin in range(0, len(correlation), PHONE_RATE_HZ):
        best = begin + int(np.argmax(correlation[begin : begin + PHONE_RATE_HZ]))
        if correlation[best] >= good_enough:
            return best
    raise AssertionError("the best is as good as itself")
