"""Learns how a phone returns what it plays, and subtracts it: a Kalman filter in the frequency domain. Pure.

A linear filter does not change the caller's own speech. It also learns during double talk, because it weights
each update by its uncertainty relative to the other sound (Enzner and Vary, Signal Processing 86, 2006,
1140-1156).
"""

from __future__ import annotations

from copy import copy
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from moshi_phone.audio.spectrum import squared

Floats = NDArray[np.float32]

BLOCK_SAMPLES = 160  # 20 ms at 8 kHz: a packet of the phone's
WINDOW_SAMPLES = 2048  # numpy transforms float32 in float32; its type stubs do not know
TAPS = 1408
"""What of an echo is learnt: 176 ms from when it may begin."""
_PART_TAPS = 32  # 4 ms, whose taps are weighted together
_SMOOTHED: Floats = np.array([0.25, 0.5, 0.25], np.float32)
_WEAKEST_PART = TAPS // _PART_TAPS // 4  # index by rising power: the first quartile
_CHANCE = np.float32(1.5)  # of that part's power: what any part may have without an echo
_LEAK = np.float32(0.2)  # of a tap without an echo, a block
_STAYS = np.float32(0.9998)  # share of the echo path that persists from block to block
_CHANGES = np.float32(1) - _STAYS * _STAYS
_NOISE_MEMORY = np.float32(0.8)
_OF_THIS_BLOCK = np.float32(0.4)  # minimum noise, as a share of the power of a block's residual
_MIN_NOISE = np.float32(0.1)  # likewise
_BLOCKS_IN_FFT = np.float32(WINDOW_SAMPLES / BLOCK_SAMPLES)
_TINY = np.float32(1e-9)
_MIN_GAIN = 0.05  # in power: the loss is known roughly, and an estimate that is far too large slows learning
_GAIN_AGAIN = np.float32(0.2)
_LEVEL_MEMORY = 0.9
_WORSE = 1.2  # a filter that adds this much energy to its input is wrong ...
_WORSE_BLOCKS = 20  # ... after this many blocks in a row: it may do so briefly when the bot starts
_HEARD = 1e-6 * BLOCK_SAMPLES / (1 - _LEVEL_MEMORY)  # -60 dB of full scale


class Filtered(NamedTuple):
    """A block of the caller's audio without the echo, and the echo: float32 ``[BLOCK_SAMPLES]``.

    Attributes:
        rest: the audio without the echo.
        echo: the predicted echo.
        is_restarted: whether the filter was wrong, and has just been reset.
    """

    rest: Floats
    echo: Floats
    is_restarted: bool = False


class EchoFilter:
    """One call's filter. Audio is 8 kHz, mono, float32, -1 to 1, in blocks of ``BLOCK_SAMPLES``.

    Args:
        loss_db: approximate attenuation of the echo.
    """

    def __init__(self, loss_db: float) -> None:
        self._gain = np.float32(min(1.0, max(_MIN_GAIN, 30 * 10 ** (-loss_db / 10))))
        self._forget()

    def _forget(self) -> None:
        bins = WINDOW_SAMPLES // 2 + 1
        # These arrays are replaced, never changed: a copy may share them.
        self._taps: Floats = np.zeros(TAPS, np.float32)
        self._response = np.zeros(bins, np.complex64)  # of the taps
        self._uncertainty: Floats = np.full(bins, self._gain, np.float32)
        self._noise: Floats = np.zeros(bins, np.float32)
        self._before = self._after = 0.0  # powers, smoothed
        self._worse_blocks = 0
        self._is_new = True

    def copy(self) -> EchoFilter:
        """Return a copy of the filter's state."""
        return copy(self)

    def forget_certainty(self) -> None:
        """Raise the uncertainty, so that the filter adapts almost as fast as at the start."""
        self._uncertainty = np.maximum(self._uncertainty, _GAIN_AGAIN * self._gain)

    def predict(self, far: Floats) -> Floats:
        """Return the echo in a block, without learning: ``[BLOCK_SAMPLES]``, of ``far`` as in ``process``."""
        return self._echo(np.fft.rfft(far).astype(np.complex64, copy=False))

    def process(self, near: Floats, far: Floats) -> Filtered:
        """Filter the next block of the caller's audio.

        Args:
            near: float32 ``[BLOCK_SAMPLES]``.
            far: the bot's audio that may return in it, up to its end: float32 ``[WINDOW_SAMPLES]``.
        """
        spectrum = np.fft.rfft(far).astype(np.complex64, copy=False)
        echo = self._echo(spectrum)
        rest = near - echo
        self._learn(spectrum, rest)
        self._before = _LEVEL_MEMORY * self._before + float(np.dot(near, near))
        self._after = _LEVEL_MEMORY * self._after + float(np.dot(rest, rest))
        is_worse = self._after > _WORSE * self._before + _HEARD
        self._worse_blocks = self._worse_blocks + 1 if is_worse else 0
        if self._worse_blocks > _WORSE_BLOCKS:  # the echo has shifted
            self._forget()
            return Filtered(near, np.zeros_like(near), is_restarted=True)
        return Filtered(rest, echo)

    def _echo(self, spectrum: NDArray[np.complex64]) -> Floats:
        echo = np.fft.irfft(spectrum * self._response, WINDOW_SAMPLES)[-BLOCK_SAMPLES:]
        return echo.astype(np.float32, copy=False)

    def _learn(self, spectrum: NDArray[np.complex64], rest: Floats) -> None:
        padded = np.zeros(WINDOW_SAMPLES, np.float32)
        padded[-BLOCK_SAMPLES:] = rest
        error = np.fft.rfft(padded).astype(np.complex64, copy=False)
        power = squared(spectrum)
        noise = squared(error)
        self._noise = noise if self._is_new else _NOISE_MEMORY * self._noise + (1 - _NOISE_MEMORY) * noise
        self._is_new = False
        # A starting voice exceeds its average at once; it must not be learnt as an echo.
        noise = np.maximum(_OF_THIS_BLOCK * noise, self._noise)
        # The unknown part of the echo is not noise.
        noise = np.maximum(noise - power * self._uncertainty / _BLOCKS_IN_FFT, _MIN_NOISE * noise)
        step = self._uncertainty / (power * self._uncertainty + _BLOCKS_IN_FFT * noise + _TINY)
        change = np.fft.irfft(step * np.conj(spectrum) * error, WINDOW_SAMPLES)
        taps = _STAYS * (self._taps + change[:TAPS].astype(np.float32, copy=False))
        self._taps = taps * (1 - _LEAK * (1 - _certainty(taps)))
        response = np.fft.rfft(self._taps, WINDOW_SAMPLES)
        self._response = response.astype(np.complex64, copy=False)
        known = 1 - step * power / _BLOCKS_IN_FFT
        self._uncertainty = _STAYS**2 * known * self._uncertainty + _CHANGES * squared(self._response)


def _certainty(taps: Floats) -> Floats:
    """Return the share of an echo in each tap: 0 to 1, ``[TAPS]``.

    A room's taps decay, and none come before the direct sound. What is learnt from the caller's voice lies on
    all taps alike; the weakest ones show how much that is.
    """
    parts = taps.reshape(-1, _PART_TAPS)
    power = np.convolve(np.vecdot(parts, parts), _SMOOTHED, "same")
    chance = _CHANCE * np.partition(power, _WEAKEST_PART)[_WEAKEST_PART]
    share = np.maximum(0, 1 - chance / (power + _TINY**2))
    return np.repeat(share, _PART_TAPS).astype(np.float32, copy=False)
