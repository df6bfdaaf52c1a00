"""Finds the bot's own voice in the caller's audio, by delay and level. Pure.

An echo is linear: the phone returns what it plays, at a constant delay and loss, whether the caller speaks or
not. A caller who repeats what was said makes none, and neither does an engine that repeats the caller.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from moshi_phone.audio.formats import PHONE_RATE_HZ

Floats = NDArray[np.float32]

_RATE_HZ = PHONE_RATE_HZ // 2  # speech below 2 kHz is enough to find an echo, at half the work
_HOP_SAMPLES = _RATE_HZ // 2
_MAX_DELAY_SAMPLES = _RATE_HZ * 9 // 10
_MAX_DELAY_MS = 850.0
_MIN_DELAY_SAMPLES = _RATE_HZ * 3 // 100  # no phone network is quicker, there and back
_FFT_SAMPLES = 8192
_HISTORY_SAMPLES = 12 * _RATE_HZ  # the longest delay of the parrot, and some seconds of speech
# Half of a half-band low-pass of 15 taps: what lies above 2 kHz would be folded down.
_LOW_PASS = np.array([-0.0031, 0.0174, -0.0665, 0.3028, 0.3028, -0.0665, 0.0174, -0.0031], np.float32)
_MIDDLE = 7  # its tap is 0.5, those between the others are 0
_TAIL_SAMPLES = 2 * _MIDDLE
_QUIET_RMS = 100.0  # of 16-bit samples, -50 dBFS: the bot is silent
_CLEAR_PEAK = 7.5  # of the correlation, in standard deviations; noise reaches 5 in a thousand blocks
_KEPT_BLOCKS = 10
_NEEDED_BLOCKS = 4
_AGREED_SAMPLES = _RATE_HZ // 40  # 25 ms: jitter moves what is known of the playout
_AGREED_SHARE = 0.7
_MEMORY = 0.9  # of the sum over blocks: ten blocks count
_CLEAR_SUM = 9.0  # of the sum's peak, in standard deviations
_CLEAR_SUMS = 3  # so many in a row must show the same delay
MIN_LOSS_DB = 2.0
"""A copy at full level is no echo: a caller whose clip repeats, and a parrot behind it, make one."""
MAX_LOSS_DB = 32.0
_SAME_LEVEL_DB = 4.0


@dataclass(frozen=True, slots=True)
class Echo:
    """The bot's voice as it comes back.

    Attributes:
        delay_ms: from when the caller hears it to when it comes back.
        loss_db: by how much weaker it comes back (the return loss).
    """

    delay_ms: float
    loss_db: float


class _Block(NamedTuple):
    """What half a second shows: the delay in samples, how clear that is, and the loss if it is an echo."""

    delay: int
    peak: float
    loss_db: float


class EchoDetector:
    """Takes both voices on one time line; says whether the caller's holds an echo of the bot's.

    Work is done once in half a second, while the bot speaks: three transforms of 8,192 samples.

    Attributes:
        echo: what was found; None while there is none.
    """

    def __init__(self) -> None:
        self.echo: Echo | None = None
        self._waiting: list[NDArray[np.int16]] = []
        self._waiting_samples = 0
        self._tail: Floats = np.zeros((_TAIL_SAMPLES, 2), np.float32)
        self._both: Floats = np.zeros((_HISTORY_SAMPLES, 2), np.float32)  # the last seconds, at half the rate
        self._known_samples = 0  # of the history; before the call's beginning it is zero
        self._blocks: deque[_Block] = deque(maxlen=_KEPT_BLOCKS)
        self._average: Floats = np.zeros(_MAX_DELAY_SAMPLES + 1, np.float32)
        self._weight = 0.0
        self._peaks: deque[tuple[int, float]] = deque(maxlen=_CLEAR_SUMS)  # of the sum: delay, clearness

    def feed(self, both: NDArray[np.int16]) -> None:
        """Take the next audio: int16 ``[n, 2]``, 8 kHz, the caller, and the bot as the caller hears it."""
        self._waiting.append(both)
        self._waiting_samples += len(both)
        if self._waiting_samples < 2 * _HOP_SAMPLES:
            return
        waiting = np.concatenate(self._waiting)
        whole = len(waiting) // (2 * _HOP_SAMPLES) * (2 * _HOP_SAMPLES)
        self._waiting, self._waiting_samples = [waiting[whole:]], len(waiting) - whole
        for hop in waiting[:whole].reshape(-1, 2 * _HOP_SAMPLES, 2):
            self._both = np.concatenate((self._both[_HOP_SAMPLES:], self._halve(hop)))
            self._known_samples = min(self._known_samples + _HOP_SAMPLES, _HISTORY_SAMPLES)
            self._look()

    def _halve(self, hop: NDArray[np.int16]) -> Floats:
        samples = np.concatenate((self._tail, hop.astype(np.float32)))
        self._tail = samples[len(samples) - _TAIL_SAMPLES :]
        halved = 0.5 * samples[_MIDDLE::2][:_HOP_SAMPLES]
        for side in (0, 1):
            halved[:, side] += np.convolve(samples[::2, side], _LOW_PASS, mode="valid")[:_HOP_SAMPLES]
        return halved

    def _look(self) -> None:
        caller = self._both[-_HOP_SAMPLES:, 0]
        bot = self._both[-_HOP_SAMPLES - _MAX_DELAY_SAMPLES :, 1]
        if _rms(bot) < _QUIET_RMS or not caller.any():
            return
        found = correlate(caller, bot)
        found[:_MIN_DELAY_SAMPLES] = 0.0
        self._average = _MEMORY * self._average + found
        self._weight = _MEMORY**2 * self._weight + 1.0
        highest = int(np.argmax(np.abs(self._average)))
        self._peaks.append((highest, float(abs(self._average[highest])) / self._weight**0.5))
        delay = int(np.argmax(np.abs(found)))
        aligned = bot[len(bot) - _HOP_SAMPLES - delay : len(bot) - delay]
        if _rms(aligned) >= _QUIET_RMS:  # or the bot was silent when this would have left
            loss_db = 20 * float(np.log10(_rms(aligned) / max(_rms(caller), 1e-3)))
            self._blocks.append(_Block(delay, float(abs(found[delay])), loss_db))
        self.echo = self._judged(self._agreed() or self._emerged())

    def _judged(self, candidate: Echo | None) -> Echo | None:
        """Leave out what is no echo although it looks like one."""
        # At the longest delay that is looked for lies the flank of a longer one.
        if (
            candidate is None
            or candidate.delay_ms > _MAX_DELAY_MS
            or not MIN_LOSS_DB <= candidate.loss_db <= MAX_LOSS_DB
        ):
            return None
        # Whether the bot repeats the caller is asked once for each echo that is found: it is dear.
        return candidate if self.echo or not self._is_parrot() else None

    def _agreed(self) -> Echo | None:
        """Find a delay that single blocks agree on."""
        clear = [block for block in self._blocks if block.peak > _CLEAR_PEAK]
        if len(clear) < _NEEDED_BLOCKS:
            return None
        middle = float(np.median([block.delay for block in clear]))
        agreed = [block for block in clear if abs(block.delay - middle) <= _AGREED_SAMPLES]
        if len(agreed) < max(_NEEDED_BLOCKS, _AGREED_SHARE * len(clear)):
            return None
        # In the blocks with the largest loss the caller is silent, and only the echo is there.
        loss_db = float(np.quantile([block.loss_db for block in agreed], 0.75))
        return Echo(float(np.median([block.delay for block in agreed])) / _RATE_HZ * 1000, loss_db)

    def _emerged(self) -> Echo | None:
        """Find a delay that no single block shows, under the caller's own voice, but their sum does."""
        delays, heights = zip(*self._peaks, strict=True)
        is_clear = len(self._peaks) == _CLEAR_SUMS and min(heights) > _CLEAR_SUM
        if not is_clear or max(delays) - min(delays) > _AGREED_SAMPLES:
            return None
        delay = delays[-1]
        caller, bot = self._both[-self._known_samples :].T
        loss_db = 20 * np.log10(_rms(bot[: len(bot) - delay]) / max(_quiet_rms(caller[delay:]), 1e-3))
        return Echo(delay / _RATE_HZ * 1000, min(float(loss_db), MAX_LOSS_DB))

    def _is_parrot(self) -> bool:
        """Tell whether the bot says again what the caller said, at the same level."""
        said = 2 * _RATE_HZ
        bot, caller = self._both[-said:, 1], self._both[:, 0]
        found = correlate(bot, caller)
        delay = int(np.argmax(np.abs(found)))
        source = caller[len(caller) - said - delay : len(caller) - delay]
        level_db = 20 * float(np.log10(max(_rms(bot), 1e-3) / max(_rms(source), 1e-3)))
        return float(abs(found[delay])) > 2 * _CLEAR_PEAK and abs(level_db) < _SAME_LEVEL_DB


def correlate(later: Floats, earlier: Floats) -> Floats:
    """Correlate a signal with one that is longer and ends at the same moment.

    Args:
        later: float32 ``[n]``.
        earlier: float32 ``[m]``, m > n.

    Returns:
        float32 ``[m - n + 1]``, in its own standard deviations: at k, how clearly ``later`` holds ``earlier``
        k samples late. The spectra are whitened in part, so that a tone is no peak.
    """
    size = max(_FFT_SAMPLES, 1 << (len(earlier) - 1).bit_length())
    spectrum = np.fft.rfft(earlier, size) * np.conj(np.fft.rfft(later, size))
    root = np.sqrt(np.abs(spectrum))
    spectrum /= root * np.sqrt(root) + 1e-3 * root.max() ** 1.5 + 1e-9
    # At shift s the later signal's beginning lies at sample s of the earlier one.
    found = np.fft.irfft(spectrum, size)[: len(earlier) - len(later) + 1][::-1]
    return (found / (float(np.std(found)) or 1.0)).astype(np.float32)


def _rms(samples: Floats) -> float:
    return float(np.sqrt(np.dot(samples, samples) / max(samples.size, 1)))


def _quiet_rms(samples: Floats) -> float:
    """Give the level of the quieter half of a signal: what is there while nobody speaks."""
    blocks = samples[: len(samples) // 400 * 400].reshape(-1, 400)
    return float(np.sqrt(np.median(np.mean(blocks**2, axis=1))))
