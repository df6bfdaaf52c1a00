"""Finds the caller's own words in what comes back: how late, frame by frame, and how well.

Each frame of 80 ms is looked for with its neighbours (a window of 320 ms) by normalized cross-correlation.
That measures the delay by content: whatever happens on the way, however frames are cut or counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moshi_phone.audio.formats import PHONE_FRAME_SAMPLES, PHONE_RATE_HZ
from moshi_phone.audio.silence import SILENCE_RMS

Samples = NDArray[np.float32]

_MARGIN_SAMPLES = 960  # the window reaches 120 ms to either side of its frame
_MAX_S = 6.0  # words that come back later than this are not found
_SCOUTS = 40  # frames that are looked for in all of that; the rest only near where these were found
_ALIKE = 0.6  # speech at an equal loudness of noise is 0.7; strange speech reaches 0.5 by chance
_SCOUTS_AGREE = 0.4  # the others may be in holes, or under the bot's own voice
_AS_GOOD = 0.97  # of two peaks that are this alike the earlier one counts
_SPREAD_S = 0.25  # by how much jitter and trimmed pauses may move one frame against the others
_APART_FRAMES = 25  # 2 s: far enough for a small drift, and a single jump touches few such pairs


@dataclass(frozen=True, slots=True)
class Alignment:
    """Where the caller's frames are in what was heard.

    Attributes:
        lag_samples: by how much each frame comes back later; float64 ``[frames]``, NaN where the caller
            was silent or the frame was not found.
        correlation: the correlation there, 0 to 1; float64 ``[frames]``, NaN likewise.
    """

    lag_samples: NDArray[np.float64]
    correlation: NDArray[np.float64]

    @property
    def clock_skew(self) -> float:
        """By how much the words come back slower than they were said: 0.01 is a clock 1 % slow."""
        change = self.lag_samples[_APART_FRAMES:] - self.lag_samples[:-_APART_FRAMES]
        known = change[np.isfinite(change)]
        return float(np.median(known)) / (_APART_FRAMES * PHONE_FRAME_SAMPLES) if known.size else 0.0


def align(said: Samples, heard: Samples) -> Alignment | None:
    """Look for what was said in what was heard.

    Args:
        said: float32 ``[n]``, 8 kHz.
        heard: float32 ``[m]``, 8 kHz, beginning at the same moment.

    Returns:
        None when what was heard is something else.
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
    """Return the lag, of those from lowest to highest, at which the frame correlates best, and how well."""
    from scipy.signal import correlate  # noqa: PLC0415 - takes half a second, which --help need not wait for

    begin = max(0, frame * PHONE_FRAME_SAMPLES - _MARGIN_SAMPLES)
    window = said[begin : (frame + 1) * PHONE_FRAME_SAMPLES + _MARGIN_SAMPLES]
    region = heard[begin + lowest : begin + highest + len(window)]
    if len(region) < len(window):
        return 0, 0.0
    products = correlate(region, window, mode="valid", method="fft")
    # float64: a window's energy is a difference of long sums, and quiet ones would drown in float32.
    energy = np.cumsum(np.concatenate(([0.0], np.square(region, dtype=np.float64))))
    energies = energy[len(window) :] - energy[: -len(window)]
    floor = len(window) * SILENCE_RMS**2 / 10  # what is all but silent is like nothing
    correlation = products / np.sqrt(
        np.maximum(energies, floor) * np.sum(np.square(window, dtype=np.float64))
    )
    best = _earliest_best(correlation)
    return lowest + best, float(correlation[best])


def _earliest_best(correlation: NDArray[np.float64]) -> int:
    """Return the first of the peaks that are as good as the best: a caller may say the same thing again."""
    good_enough = _AS_GOOD * float(correlation.max())
    for begin in range(0, len(correlation), PHONE_RATE_HZ):
        best = begin + int(np.argmax(correlation[begin : begin + PHONE_RATE_HZ]))
        if correlation[best] >= good_enough:
            return best
    raise AssertionError("the best is as good as itself")
