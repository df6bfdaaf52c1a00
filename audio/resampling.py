"""Changes the sample rate of a stream by a whole factor, with a constant and small lag.

The phone carries 300 to 3,400 Hz at 8 kHz and Moshi speaks at 24 kHz, so one low-pass filter serves both
ways: flat to 3,400 Hz, closed at 4,600 Hz, where the mirror image of 3,400 Hz lies. That is little to ask,
and so 73 coefficients (3 ms at 24 kHz) are enough, and the lag is half of it: 1.5 ms. Resamplers made for
music keep more and take longer: libsamplerate's ``sinc_medium`` 5.9 ms, soxr's VHQ 152 ms, in lumps
(``benchmarks/resamplers.py`` compares them).
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

_TAPS_PER_FACTOR = 24  # 73 taps for a factor of 3: 58 dB down at 4,600 Hz, 20 dB below µ-law's own noise
_KAISER_BETA = 5.65  # for 60 dB (Kaiser's formula, scipy.signal.kaiser_beta)


class StreamResampler:
    """Resamples a stream, block by block, as if it were one piece.

    Every block of n samples gives exactly n × out/in samples, from the first one on: the filter begins
    on silence, which is what its lag consists of.

    Args:
        in_hz: rate of what comes.
        out_hz: rate of what is wanted; one of the two must be a multiple of the other.
    """

    def __init__(self, in_hz: int, out_hz: int) -> None:
        ratio = Fraction(out_hz, in_hz)
        if ratio == 1 or 1 not in (ratio.numerator, ratio.denominator):
            raise ValueError(f"expected one rate to be a multiple of the other, got {in_hz} and {out_hz} Hz")
        self._up, self._down = ratio.numerator, ratio.denominator
        factor = max(self._up, self._down)
        taps = low_pass(factor)
        self._filter = taps if self._up == 1 else _bank(taps, factor)
        self._history = np.zeros(len(self._filter) - 1, np.float32)
        self.lag_ms = 1000 * (taps.size - 1) / 2 / max(in_hz, out_hz)

    def process(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Resample the next block.

        Args:
            samples: float32 ``[n]``; n must be a multiple of in/out where the rate goes down.

        Returns:
            float32 ``[n × out/in]``, ``lag_ms`` late.

        Raises:
            ValueError: when n is no such multiple.
        """
        if samples.size % self._down:
            raise ValueError(f"expected a multiple of {self._down} samples, got {samples.size}")
        if samples.size == 0:
            return samples
        padded = np.concatenate((self._history, samples))
        self._history = padded[samples.size :]
        if self._up == 1:
            return np.convolve(padded, self._filter, "valid")[:: self._down].astype(np.float32, copy=False)
        out: NDArray[np.float32] = sliding_window_view(padded, len(self._filter)) @ self._filter
        return out.ravel()


def low_pass(factor: int) -> NDArray[np.float32]:
    """Design the filter, a windowed sinc: float32 ``[24 × factor + 1]``, flat up to the lower rate's band."""
    half = _TAPS_PER_FACTOR * factor // 2
    taps = np.sinc(np.arange(-half, half + 1) / factor) * np.kaiser(2 * half + 1, _KAISER_BETA)
    scaled: NDArray[np.float32] = (taps / taps.sum()).astype(np.float32)
    return scaled


def _bank(taps: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Sort the taps by the output sample they serve: float32 ``[window, factor]``, oldest input first."""
    phases = np.zeros((_TAPS_PER_FACTOR + 1, factor), np.float32)
    phases.ravel()[: taps.size] = factor * taps
    return phases[::-1].copy()
