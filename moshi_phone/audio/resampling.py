"""Resampling of a stream by any ratio, with a small, constant lag.

The phone carries 300 to 3,400 Hz at 8 kHz and Moshi speaks at 24 kHz, so one low-pass filter serves both
ways: flat to 3,400 Hz, closed at 4,600 Hz, where the mirror image of 3,400 Hz lies. For that, 73
coefficients (3 ms at 24 kHz) are enough; the lag is half of their length, 1.5 ms. Resamplers for music have
a wider band and a longer lag: libsamplerate's ``sinc_medium`` 5.9 ms, soxr's VHQ 152 ms, in lumps
(``benchmarks/resamplers.py`` compares them).
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

_PIECE_SAMPLES = 32  # of the lower rate: products so small that BLAS does not wake its threads
_TAPS_PER_FACTOR = 24  # 73 taps for a factor of 3: 58 dB down at 4,600 Hz, 20 dB below µ-law's own noise
_KAISER_BETA = 5.65  # for 60 dB (Kaiser's formula, scipy.signal.kaiser_beta)


class StreamResampler:
    """Resamples a stream, block by block, as if it were one piece.

    Every block of n samples yields exactly n × out/in samples, from the first one on: the filter starts with
    silence, which is its lag.

    Args:
        in_hz: input sample rate.
        out_hz: output sample rate, a different one.

    Attributes:
        down: each block must be a multiple of this number of samples.
        lag_ms: delay of the output.

    Raises:
        ValueError: when the rates are the same.
    """

    def __init__(self, in_hz: int, out_hz: int) -> None:
        if in_hz == out_hz:
            raise ValueError(f"expected two rates, got {in_hz} Hz twice")
        ratio = Fraction(out_hz, in_hz)
        # By n/d: n outputs for d inputs, so blocks are multiples of d and no fraction is carried over.
        self._up, self.down = ratio.numerator, ratio.denominator
        taps = low_pass(max(self._up, self.down))
        self._filter = taps[:, np.newaxis] if self._up == 1 else _bank(taps, self._up)
        self._history = np.zeros(len(self._filter) - 1, np.float32)  # end of the input, for the next block
        self._piece = self.down * _PIECE_SAMPLES  # input processed at a time
        self._matrix = _matrix(self._filter, self.down) if 1 in (self._up, self.down) else None
        self.lag_ms = 1000 * (taps.size - 1) / 2 / (in_hz * self._up)

    def process(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Resample the next block.

        Args:
            samples: float32 ``[n]``; n must be a multiple of ``down``, the denominator of out/in.

        Returns:
            float32 ``[n × out/in]``, ``lag_ms`` late.

        Raises:
            ValueError: when n is no such multiple.
        """
        if samples.size % self.down:
            raise ValueError(f"expected a multiple of {self.down} samples, got {samples.size}")
        if samples.size == 0:
            return samples
        if self._matrix is not None:
            return self._multiply(samples, self._matrix)
        padded = np.concatenate((self._history, samples))
        self._history = padded[samples.size :]
        windows = sliding_window_view(padded, len(self._filter))
        # As if `up` samples were computed for each input sample, and one in `down` of them kept.
        kept = np.arange(0, samples.size * self._up, self.down)
        newest, phase = np.divmod(kept, self._up)
        some: NDArray[np.float32] = np.einsum("ot,to->o", windows[newest], self._filter[:, phase])
        return some

    def _multiply(self, samples: NDArray[np.float32], matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        """Resample in pieces: one product of matrices takes a fifth of the time of a filter's many steps."""
        rows = -(-samples.size // self._piece)
        history = self._history.size
        padded = np.zeros(history + rows * self._piece, np.float32)
        padded[:history] = self._history
        padded[history : history + samples.size] = samples
        self._history = padded[samples.size : samples.size + history].copy()
        overlapping = np.ndarray((rows, len(matrix)), np.float32, padded, strides=(4 * self._piece, 4))
        return (overlapping.copy() @ matrix).ravel()[: samples.size * self._up // self.down]


def low_pass(factor: int) -> NDArray[np.float32]:
    """Design the filter, a windowed sinc: float32 ``[24 × factor + 1]``, flat up to the lower rate's band."""
    half = _TAPS_PER_FACTOR * factor // 2
    taps = np.sinc(np.arange(-half, half + 1) / factor) * np.kaiser(2 * half + 1, _KAISER_BETA)
    scaled: NDArray[np.float32] = (taps / taps.sum()).astype(np.float32)
    return scaled


def _bank(taps: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Sort the taps by the output sample they serve: float32 ``[window, factor]``, oldest input first."""
    phases = np.zeros((-(-taps.size // factor), factor), np.float32)
    phases.ravel()[: taps.size] = factor * taps
    return phases[::-1].copy()


def _matrix(bank: NDArray[np.float32], down: int) -> NDArray[np.float32]:
    """Return the filter as a matrix, from a piece of input, with its history, to a piece of output.

    Args:
        bank: float32 ``[window, phase]``.
        down: the step between two windows.
    """
    window, phases = bank.shape
    matrix = np.zeros((window - 1 + down * _PIECE_SAMPLES, _PIECE_SAMPLES, phases), np.float32)
    for piece in range(_PIECE_SAMPLES):
        matrix[piece * down : piece * down + window, piece] = bank
    return matrix.reshape(len(matrix), -1)
