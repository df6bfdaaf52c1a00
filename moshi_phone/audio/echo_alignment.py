"""Detects by how many samples an echo has shifted against its reference. Pure.

Sometimes the phone's playout buffer runs dry, for a few samples or some milliseconds, without any report. All
later audio is delayed by that time, and a learnt echo path no longer fits. The path itself has not changed:
delaying its reference is enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from moshi_phone.audio.echo_filter import BLOCK_SAMPLES, Floats
from moshi_phone.audio.formats import PHONE_RATE_HZ
from moshi_phone.audio.spectrum import squared

MAX_MOVE_SAMPLES = 160
"""The longest detectable move: the echo comes 20 ms later, at 8 kHz."""
_MAX_EARLIER_SAMPLES = 40  # a playout buffer never makes an echo earlier, but a wrongly detected shift does
_LAGS = MAX_MOVE_SAMPLES + _MAX_EARLIER_SAMPLES + 1
_NO_MOVE = MAX_MOVE_SAMPLES  # index of the lag 0
_WINDOW_SAMPLES = 640  # whitened at once: 80 ms
_SMOOTHED_HZ = 90
_MIN_REST = np.float32(0.01)  # of the caller's audio, in power: µ-law's noise
_FLOOR = np.float32(1e-7)  # of a sample, in power: -70 dB of full scale
_CLEAR = 15.0  # twice the logarithm of a likelihood ratio; long shifts are rare, so they must be clearer
_CLEARER = 0.25  # likewise, for a sample more
_REMOVED = 8.0  # likewise
_LOST = 60.0  # likewise, by which a prediction increases the error
_HARMS = 0.3  # share of the predicted energy that a wrong prediction adds
_MAX_JUMP_SAMPLES = 480  # 60 ms
_NOTICED = 5.0  # likewise; when it was exceeded, the shift began about a block earlier
_FITS = 0.4  # share of the predicted energy that a fitting prediction removes
_FITS_AGAIN = 0.25  # likewise, if it fitted before: it may be inexact
_MOVE_PENALTY = np.float32(30)  # likewise, of a past shift
_EARLIER_PENALTY = np.float32(100)


_NEEDED: Floats = (_CLEAR + _CLEARER * np.abs(np.arange(_LAGS) - _NO_MOVE)).astype(np.float32)  # for each lag


class Move(NamedTuple):
    """A shift of the echo.

    Attributes:
        samples: by which it comes later than predicted; negative if earlier.
        blocks: number of blocks since then.
    """

    samples: int
    blocks: int


class EchoAlignment:
    """Compares the caller's audio with the predicted echo, block by block: 8 kHz, mono, float32.

    The prediction's residual, mostly the caller's voice, is whitened, so that pauses and frequencies without
    that voice count most. The lag with the smallest residual is then the most likely one.

    Attributes:
        lost_blocks: number of blocks in which the prediction has been clearly wrong, at any detectable lag.
    """

    def __init__(self) -> None:
        self._has_fitted = False  # a prediction that never fitted is wrong, not shifted
        self.restart()

    def restart(self) -> None:
        """Discard the past: the prediction is another one from now on."""
        self.lost_blocks = 0
        self._wrong_blocks, self._harm, self._harmless = 0, 0.0, 0.0
        self._near: Floats = np.zeros(0, np.float32)
        self._echo: Floats = np.zeros(0, np.float32)
        # Page's cumulative sum test, for each lag: how much better it fits than lag 0, since it has.
        self._gain: Floats = np.zeros(_LAGS, np.float32)
        self._removed: Floats = np.zeros(_LAGS, np.float32)  # energy, over the same time
        self._predicted: Floats = np.zeros(_LAGS, np.float32)  # energy, likewise
        # number of blocks since a lag began to fit better
        self._blocks: NDArray[np.int32] = np.zeros(_LAGS, np.int32)

    def add(self, near: Floats, echo: Floats) -> Move | None:
        """Add a block of the caller's audio, and the echo predicted in it.

        Returns:
            The shift of the echo against the prediction; None if it is not clear.
        """
        self._near = np.concatenate((self._near, near))[-_WINDOW_SAMPLES:]
        self._echo = np.concatenate((self._echo, echo))[-_WINDOW_SAMPLES:]
        if len(self._near) < _WINDOW_SAMPLES or not self._echo.any():
            return None
        removed, predicted = _compare(self._near, self._echo)
        if removed[_NO_MOVE] > _FITS * predicted[_NO_MOVE] + _CLEAR / 2:
            self._has_fitted = True
        self._gain += removed - removed[_NO_MOVE]
        fits_better = self._gain > 0
        self._gain *= fits_better
        self._removed = fits_better * (self._removed + removed)
        self._predicted = fits_better * (self._predicted + predicted)
        self._blocks = (self._gain > _NOTICED) * (self._blocks + 1)
        self._watch(float(removed[_NO_MOVE]), float(predicted[_NO_MOVE]))
        best = int(np.argmax(self._gain - _NEEDED))
        # If little is removed at every lag, the path itself has changed, or is not learnt yet.
        least, share = (_REMOVED, _FITS_AGAIN) if self._has_fitted else (_CLEAR, _FITS)
        at_least = least + share * self._predicted[best]
        if self._gain[best] <= _NEEDED[best] or self._removed[best] <= at_least:
            return None
        return Move(_NO_MOVE - best, 1 + int(self._blocks[best]))

    def _watch(self, removed: float, predicted: float) -> None:
        self._harm = max(0.0, self._harm - removed)  # Page's test again, against no prediction
        self._harmless, self._wrong_blocks = (
            (self._harmless + predicted, self._wrong_blocks + 1) if self._harm else (0.0, 0)
        )
        is_lost = self._has_fitted and self._harm > max(_LOST, _HARMS * self._harmless)
        self.lost_blocks = self._wrong_blocks if is_lost else 0


def jump(near: Sequence[Floats], echo: Sequence[Floats]) -> int:
    """Return by how many samples an echo is later than predicted, up to 60 ms; 0 if that is not clear.

    Args:
        near: blocks of the caller's audio.
        echo: the echo predicted in them.
    """
    said, predicted = _whitened(np.concatenate(near), np.concatenate(echo))
    size = 2 * len(said)
    spectra = np.fft.rfft(np.stack((said, predicted)), size)
    products = np.fft.irfft(spectra[0] * np.conj(spectra[1]), size)
    lags = np.arange(-_MAX_JUMP_SAMPLES, _MAX_JUMP_SAMPLES + 1)
    sums = np.concatenate((np.zeros(1), np.cumsum(np.square(predicted, dtype=np.float64))))
    energy = sums[len(said) - np.maximum(lags, 0)] - sums[np.maximum(-lags, 0)]
    removed = 2 * products[lags] - energy
    best = int(np.argmax(removed))
    return int(lags[best]) if removed[best] > _LOST + _FITS * energy[best] else 0


def past_moves(near: Sequence[Floats], echo: Sequence[Floats]) -> NDArray[np.int64]:
    """Return by how many samples the echo came later than predicted, for each block: int64 ``[blocks]``.

    The most likely sequence with few shifts (Viterbi's algorithm).

    Args:
        near: blocks of the caller's audio.
        echo: the echo predicted in them.
    """
    said, predicted = np.concatenate(near), np.concatenate(echo)
    lead = _WINDOW_SAMPLES // BLOCK_SAMPLES - 1  # blocks before the first whole window
    lags = 2 * MAX_MOVE_SAMPLES + 1
    score, best_before = np.zeros(lags, np.float32), list[NDArray[np.int64]]()
    score[MAX_MOVE_SAMPLES] = _MOVE_PENALTY
    index = np.arange(lags)
    for block in range(lead, len(near)):
        window = slice((block - lead) * BLOCK_SAMPLES, (block + 1) * BLOCK_SAMPLES)
        # To the same lag, to a later echo (a lower index), or, rarely, to an earlier one.
        best = int(np.argmax(score))
        moved = (
            score[best] - _MOVE_PENALTY - _CLEARER * np.abs(index - best) - _EARLIER_PENALTY * (index > best)
        )
        best_before.append(np.where(score >= moved, index, best))
        score = np.maximum(score, moved)
        if predicted[window].any():
            score = score + _compare(said[window], predicted[window], MAX_MOVE_SAMPLES)[0]
    lag, path = int(np.argmax(score)), np.zeros(len(near), np.int64)
    for at in range(len(best_before) - 1, -1, -1):
        path[at + lead] = lag
        lag = int(best_before[at][lag])
    path[:lead] = lag
    return MAX_MOVE_SAMPLES - path


def _compare(near: Floats, echo: Floats, earlier: int = _MAX_EARLIER_SAMPLES) -> tuple[Floats, Floats]:
    """Return, for each lag, the energy that subtraction removes from a block, and the predicted energy."""
    near, echo = _whitened(near, echo)
    end = _WINDOW_SAMPLES - earlier
    begin = end - BLOCK_SAMPLES
    echo = echo[begin - MAX_MOVE_SAMPLES :]
    products = np.correlate(echo, near[begin:end], "valid")
    sums = np.concatenate((np.zeros(1, np.float32), np.cumsum(echo * echo)))
    predicted = sums[BLOCK_SAMPLES:] - sums[:-BLOCK_SAMPLES]
    return 2 * products - predicted, predicted


def _whitened(near: Floats, echo: Floats) -> tuple[Floats, Floats]:
    """Filter both so that their difference is white and of unit power."""
    samples = len(near)
    bins = max(1, _SMOOTHED_HZ * samples // PHONE_RATE_HZ)
    spectra = np.fft.rfft(np.stack((near, echo))).astype(np.complex64, copy=False)
    rest = spectra[0] - spectra[1]
    power = _smoothed(squared(rest), bins) + _MIN_REST * _smoothed(squared(spectra[0]), bins)
    white = np.fft.irfft(spectra * np.sqrt(samples / (power + samples * _FLOOR)), samples)
    white = white.astype(np.float32, copy=False)
    return white[0], white[1]


def _smoothed(power: Floats, bins: int) -> Floats:
    smoothed: Floats = np.convolve(power, np.full(bins, 1 / bins, np.float32), "same")
    return smoothed
