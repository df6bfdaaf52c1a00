"""Detects by how many samples an echo has moved against its reference. Pure.

The phone's playout buffer runs dry now and then, for a few samples or some milliseconds, and nothing reports
it. All later audio is played so much later, and a learnt echo path no longer fits. The path itself has not
changed: it is enough to delay its reference.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from moshi_phone.audio.spectrum import squared

Floats = NDArray[np.float32]

MAX_MOVE_SAMPLES = 160
"""The longest detectable move in either direction: 20 ms at 8 kHz."""
_SEGMENT_SAMPLES = 320  # compared at once: 40 ms
_WINDOW_SAMPLES = _SEGMENT_SAMPLES + 2 * MAX_MOVE_SAMPLES  # 640: the prediction on both sides of a segment
_LAGS = 2 * MAX_MOVE_SAMPLES + 1
_NO_MOVE = MAX_MOVE_SAMPLES  # index of the lag 0
_SMOOTHED_BINS = 7  # 90 Hz
_MIN_REST = np.float32(0.01)  # of the caller's audio, in power: µ-law's noise
_TINY = np.float32(1e-6)
_CLEAR = 40.0  # twice the logarithm of a likelihood ratio
_REMOVED = 20.0  # likewise
_FITS = 0.4  # of the predicted energy is removed by a prediction that fits


class EchoAlignment:
    """Compares the caller's audio with the predicted echo: 8 kHz, mono, float32.

    What the prediction leaves, mostly the caller's voice, is whitened, so that pauses and frequencies without
    that voice count most. Then the lag with the least rest is the likeliest one.
    """

    def __init__(self) -> None:
        self._has_fitted = False  # a prediction that never fitted is wrong rather than moved
        self.restart()

    def restart(self) -> None:
        """Forget the past: from now on, the prediction is another one."""
        self._near: Floats = np.zeros(0, np.float32)
        self._echo: Floats = np.zeros(0, np.float32)
        # Page's cumulative sum test, for each lag: how much better it fits than lag 0, since it has.
        self._gain: Floats = np.zeros(_LAGS, np.float32)
        self._removed: Floats = np.zeros(_LAGS, np.float32)  # energy, over the same time
        self._predicted: Floats = np.zeros(_LAGS, np.float32)  # energy, likewise

    def add(self, near: Floats, echo: Floats) -> int:
        """Add a block of the caller's audio, and the echo predicted in it.

        Returns:
            By how many samples the echo comes later than predicted, if that is clear; otherwise 0.
        """
        self._near = np.concatenate((self._near, near))
        self._echo = np.concatenate((self._echo, echo))
        if len(self._near) < _WINDOW_SAMPLES:
            return 0
        move = self._compare(self._near[:_WINDOW_SAMPLES], self._echo[:_WINDOW_SAMPLES])
        if move:
            self.restart()
        else:
            self._near, self._echo = self._near[_SEGMENT_SAMPLES:], self._echo[_SEGMENT_SAMPLES:]
        return move

    def _compare(self, near: Floats, echo: Floats) -> int:
        if not echo.any():
            return 0
        near, echo = _whitened(near, echo)
        caller = near[MAX_MOVE_SAMPLES : MAX_MOVE_SAMPLES + _SEGMENT_SAMPLES]
        products = np.correlate(echo, caller, "valid")
        sums = np.concatenate((np.zeros(1, np.float32), np.cumsum(echo * echo)))
        predicted = sums[_SEGMENT_SAMPLES:] - sums[:-_SEGMENT_SAMPLES]
        removed = 2 * products - predicted  # by subtracting the prediction at each lag
        if removed[_NO_MOVE] > _FITS * predicted[_NO_MOVE] + _CLEAR:
            self._has_fitted = True
        self._gain += removed - removed[_NO_MOVE]
        fits_better = self._gain > 0
        self._gain *= fits_better
        self._removed = fits_better * (self._removed + removed)
        self._predicted = fits_better * (self._predicted + predicted)
        best = int(np.argmax(self._gain))
        # Where nothing is removed at any lag, the path itself has changed, or is not learnt yet.
        at_least = _REMOVED if self._has_fitted else _CLEAR + _FITS * self._predicted[best]
        return _NO_MOVE - best if self._gain[best] > _CLEAR and self._removed[best] > at_least else 0


def _whitened(near: Floats, echo: Floats) -> tuple[Floats, Floats]:
    """Filter both so that their difference is white and of unit power."""
    spectra = np.fft.rfft(np.stack((near, echo))).astype(np.complex64, copy=False)
    rest = spectra[0] - spectra[1]
    power = _smoothed(squared(rest)) + _MIN_REST * _smoothed(squared(spectra[0])) + _TINY
    white = np.fft.irfft(spectra * np.sqrt(_WINDOW_SAMPLES / power), _WINDOW_SAMPLES)
    white = white.astype(np.float32, copy=False)
    return white[0], white[1]


def _smoothed(power: Floats) -> Floats:
    smoothed: Floats = np.convolve(power, np.full(_SMOOTHED_BINS, 1 / _SMOOTHED_BINS, np.float32), "same")
    return smoothed
