"""Detection of the bot's voice in the caller's audio, with its delay and level. Pure.

An echo is linear: the phone returns its playback with a constant delay and loss, whether or not the caller
speaks. A caller who repeats the bot's words makes no echo, nor does an engine that repeats the caller.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from moshi_phone.audio.formats import PHONE_RATE_HZ
from moshi_phone.audio.history import History
from moshi_phone.conversation.correlation import Floats, correlate, impulse_response, levelled, rms

_RATE_HZ = PHONE_RATE_HZ // 2  # speech below 2 kHz is enough to find an echo, at half the work
_BLOCK_SAMPLES = _RATE_HZ // 2
_MAX_DELAY_SAMPLES = _RATE_HZ * 9 // 10
_MAX_DELAY_MS = 850.0
_MIN_DELAY_SAMPLES = _RATE_HZ * 3 // 100  # no phone network has a shorter round trip
_MIN_REPEAT_SAMPLES = _RATE_HZ // 20  # an engine answers only after a complete frame of 80 ms
_HISTORY_SAMPLES = 12 * _RATE_HZ  # the parrot's longest delay plus some seconds of speech
# A half-band low-pass of 15 taps against aliasing of sound above 2 kHz. Every other tap is 0, except the
# middle one.
_LOW_PASS = np.array([-0.0031, 0.0174, -0.0665, 0.3028, 0.3028, -0.0665, 0.0174, -0.0031], np.float32)
_MIDDLE_TAP = np.float32(0.5)
_TAIL_SAMPLES = 2 * len(_LOW_PASS) - 2
_QUIET_RMS = 100.0  # of 16-bit samples, -50 dBFS: the bot is silent
_MIN_LEVEL = 0.02  # -34 dB, of the bot's: there is no stronger echo in a quieter half second
_ENVELOPE_SAMPLES = _RATE_HZ // 25
_CLEAR_PEAK = 7.5  # of the correlation, in standard deviations; noise reaches 5 in a thousand blocks
_KEPT_BLOCKS = 10
_NEEDED_BLOCKS = 4
_AGREED_SAMPLES = _RATE_HZ // 50  # 20 ms: the phone's buffer may run dry; words said again vary more
_AGREED_SHARE = 0.7
_MEMORY = 0.9  # decay of the sum over blocks: about ten blocks count
_CLEAR_SUM = 9.0  # of the sum's peak, in standard deviations
_SUSPECT_SUM = 6.0
_FIRST_S = 6.0  # of the bot's speech; then two of three blocks are skipped
_SKIPPED_BLOCKS = 3
_CLEAR_SUMS = 3  # consecutive peaks that must agree on the delay
_ROOM_BEFORE, _ROOM_AFTER = _RATE_HZ // 50, _RATE_HZ // 10  # around the response's peak: 20 and 100 ms
# Expensive measurements (is it an echo, at which level) are repeated after this many blocks.
_VERDICT_BLOCKS, _DOUBTFUL_BLOCKS = 12, 4
_FRAME_SAMPLES = _RATE_HZ // 10
_QUIET_SHARE = 0.8  # quantile: the caller is quieter in a fifth of the time
MIN_LOSS_DB = 2.0
"""A copy at full level is not an echo: a repeating clip behind a parrot produces one."""
MAX_LOSS_DB = 32.0
"""Larger losses are reported as this: such a weak echo cannot be measured."""
_SAME_LEVEL_DB = 3.0
_COPY, _COPIED_FRAMES = 0.8, 3  # coefficient of correlation of a parrot's frames; a room's echo has less
_SAME_SOUND_DB = 1.0  # a repetition differs by less than this, frame by frame


@dataclass(frozen=True, slots=True)
class Echo:
    """An echo of the bot's voice.

    Attributes:
        delay_ms: delay from its playback at the caller to its return.
        loss_db: its attenuation (the return loss).
    """

    delay_ms: float
    loss_db: float


class _Block(NamedTuple):
    """The result of half a second: the peak's delay in samples and its height in standard deviations."""

    delay: int
    peak: float


class _Verdict(NamedTuple):
    """The attenuation measured at a delay; None if the bot repeats the caller."""

    delay: int
    loss_db: float | None


class EchoDetector:
    """Detects an echo of the bot in the caller's audio, from both voices on one time line.

    While the bot speaks, it compares half a second with three transforms of 5,760 samples: each one at first,
    later every third one, unless there may be an echo. The audio waits until then: little work at a time
    would take several times as long as much work at once.

    Attributes:
        echo: the detected echo, or None.
        bot_s: duration of the bot's speech so far.
    """

    def __init__(self) -> None:
        self.echo: Echo | None = None
        self.bot_s = 0.0
        self._waiting: list[NDArray[np.int16]] = []  # less than is looked at, at the full rate
        self._waiting_samples = 0
        self._needed_samples = 2 * _BLOCK_SAMPLES  # one block, or those between two comparisons
        # End of the processed audio at the full rate: the low-pass filter of the next block begins there.
        self._tail: Floats = np.zeros((2, _TAIL_SAMPLES), np.float32)
        # The last seconds of both sides, at half the rate.
        self._history = tuple(History(_HISTORY_SAMPLES, np.float32) for _ in range(2))
        self._blocks: deque[_Block] = deque(maxlen=_KEPT_BLOCKS)
        # Weighted sum of the blocks' correlations, by delay, and the sum of their weights.
        self._sum: Floats = np.zeros(_MAX_DELAY_SAMPLES + 1, np.float32)
        self._weight = 0.0
        self._peaks: deque[tuple[int, float]] = deque(maxlen=_CLEAR_SUMS)  # of the sum: delay, clearness
        self._skipped = 0  # blocks that could have been looked at since the last one that was
        self._could_compare = False  # a block of the last audio: the caller was not silent beside the bot
        self._verdict = _Verdict(0, None)
        self._verdict_blocks = 0

    def feed(self, both: NDArray[np.int16]) -> bool:
        """Process the next audio, and return whether the attributes may have changed: every 0.5 or 1.5 s.

        Args:
            both: int16 ``[n, 2]``, 8 kHz, the caller, and the bot as the caller hears it. Do not change it.
        """
        self._waiting.append(both)
        self._waiting_samples += len(both)
        if self._waiting_samples < self._needed_samples:
            return False
        waiting = np.concatenate(self._waiting)
        while (needed := self._needed_samples) <= len(waiting):
            self._look(waiting[:needed])
            waiting = waiting[needed:]
        self._waiting, self._waiting_samples = [waiting.copy()], len(waiting)
        return True

    def _look(self, both: NDArray[np.int16]) -> None:
        samples = np.concatenate((self._tail, both.T), axis=1, dtype=np.float32)
        self._tail = samples[:, -_TAIL_SAMPLES:].copy()
        for history, side in zip(self._history, samples, strict=True):
            history.append(_halved(side))
        caller, bot = (history.last for history in self._history)
        due: list[tuple[Floats, Floats]] = []
        for end in range(len(caller) - len(both) // 2 + _BLOCK_SAMPLES, len(caller) + 1, _BLOCK_SAMPLES):
            heard = bot[end - _BLOCK_SAMPLES - _MAX_DELAY_SAMPLES : end]
            heard_rms = rms(heard)
            if heard_rms < _QUIET_RMS:
                continue
            self.bot_s += _BLOCK_SAMPLES / _RATE_HZ
            said = caller[end - _BLOCK_SAMPLES : end]
            if rms(said) > _MIN_LEVEL * heard_rms:
                due.append((said, heard))
                self._skipped += 1
        is_new = bool(due) and not self._could_compare
        self._could_compare = bool(due)
        if is_new or (due and self._skipped >= len(both) // (2 * _BLOCK_SAMPLES)):
            *earlier, latest = due
            self._compare(*latest)
            if earlier and self._may_be_echo():
                for block in earlier:
                    self._compare(*block)
            self.echo = self._judged(self._agreed() or self._emerged())
            self._skipped = 0
        is_settled = self.bot_s >= _FIRST_S and not self._may_be_echo()
        self._needed_samples = 2 * _BLOCK_SAMPLES * (_SKIPPED_BLOCKS if is_settled else 1)

    def _may_be_echo(self) -> bool:
        if self.echo is not None:  # only its delay is followed
            return False
        if self._verdict_blocks > 0 and self._verdict.loss_db is None:  # a parrot explains the correlation
            return False
        recent = list(self._blocks)[-_NEEDED_BLOCKS:]
        is_clear = any(block.peak > _CLEAR_PEAK for block in recent)
        return is_clear or (bool(self._peaks) and self._peaks[-1][1] > _SUSPECT_SUM)

    def _compare(self, caller: Floats, bot: Floats) -> None:
        found = correlate(levelled(caller, _ENVELOPE_SAMPLES), bot)
        found[:_MIN_DELAY_SAMPLES] = 0.0
        self._sum = np.float32(_MEMORY) * self._sum + found
        self._weight = _MEMORY**2 * self._weight + 1.0
        highest = int(np.argmax(np.abs(self._sum)))
        self._peaks.append((highest, float(abs(self._sum[highest])) / self._weight**0.5))
        delay = int(np.argmax(np.abs(found)))
        if rms(bot[len(bot) - len(caller) - delay : len(bot) - delay]) >= _QUIET_RMS:
            # Otherwise the bot was silent at that delay, so the peak is chance.
            self._blocks.append(_Block(delay, float(abs(found[delay]))))

    def _judged(self, delay: int | None) -> Echo | None:
        """Measure the echo at a delay; None if the peak is not an echo."""
        # A peak at the edge of the search range belongs to a longer delay.
        if delay is None or delay / _RATE_HZ * 1000 > _MAX_DELAY_MS:
            return None
        if self._verdict_blocks <= 0 or abs(delay - self._verdict.delay) > _AGREED_SAMPLES:
            # The parrot check is needed only before an echo is known.
            is_parrot = self.echo is None and self._is_parrot()
            self._verdict = _Verdict(delay, None if is_parrot else self._loss_db(delay))
            self._verdict_blocks = _DOUBTFUL_BLOCKS if self._verdict.loss_db == 0 else _VERDICT_BLOCKS
        # A parrot may stop: its verdict lasts for some time, others for some comparisons.
        self._verdict_blocks -= self._skipped if self._verdict.loss_db is None else 1
        loss_db = self._verdict.loss_db
        if loss_db is None or loss_db < MIN_LOSS_DB:
            return None
        return Echo(delay / _RATE_HZ * 1000, loss_db)

    def _agreed(self) -> int | None:
        """Return the delay on which single blocks agree, or None."""
        clear = [block.delay for block in self._blocks if block.peak > _CLEAR_PEAK]
        if len(clear) < _NEEDED_BLOCKS:
            return None
        middle = float(np.median(clear))
        agreed = [delay for delay in clear if abs(delay - middle) <= _AGREED_SAMPLES]
        if len(agreed) < max(_NEEDED_BLOCKS, _AGREED_SHARE * len(clear)):
            return None
        return round(float(np.median(agreed)))

    def _emerged(self) -> int | None:
        """Return the delay that the sum of blocks shows, even under the caller's own voice, or None."""
        delays, heights = zip(*self._peaks, strict=True)
        is_clear = len(self._peaks) == _CLEAR_SUMS and min(heights) > _CLEAR_SUM
        return delays[-1] if is_clear and max(delays) - min(delays) <= _AGREED_SAMPLES else None

    def _is_parrot(self) -> bool:
        """Return whether the bot repeats the caller's words at the same level."""
        said = 2 * _RATE_HZ
        caller, bot = (side.last for side in self._history)
        bot = bot[-said:]
        found = correlate(bot, caller)
        found[:_MIN_REPEAT_SAMPLES] = 0.0
        delay = int(np.argmax(np.abs(found)))
        source = caller[len(caller) - said - delay : len(caller) - delay]
        if float(abs(found[delay])) <= 2 * _CLEAR_PEAK:
            return False
        level_db = 20 * float(np.log10((rms(bot) + 1) / (rms(source) + 1)))
        if abs(level_db) < _SAME_LEVEL_DB:
            return True
        # Frame by frame: at other times the bot may say something of its own, such as a greeting.
        frames = [side.reshape(-1, _FRAME_SAMPLES) for side in (bot, source)]
        powers = [np.mean(frame**2, axis=1) for frame in frames]
        is_loud = powers[0] > _QUIET_RMS**2
        products = np.mean(frames[0] * frames[1], axis=1)
        is_copy = np.abs(products) > _COPY * np.sqrt(powers[0] * powers[1])
        is_same_level = np.abs(np.log10((powers[0] + 1) / (powers[1] + 1))) < _SAME_LEVEL_DB / 10
        needed_frames = max(1, min(_COPIED_FRAMES, int(np.sum(is_loud))))  # a short sound has one
        return int(np.sum(is_loud & is_copy & is_same_level)) >= needed_frames

    def _loss_db(self, delay: int) -> float:
        """Measure the echo's attenuation, also while the caller speaks; 0 if it is not an echo."""
        caller, bot = (side.last for side in self._history)
        if _quiet_loss_db(caller[delay:], bot[: len(bot) - delay]) < _SAME_SOUND_DB:
            return 0.0
        response = impulse_response(caller, bot, _MAX_DELAY_SAMPLES)
        begin, end = max(0, delay - _ROOM_BEFORE), delay + _ROOM_AFTER
        # The rest of the response is the caller's own voice, evenly distributed over all delays.
        elsewhere = np.concatenate((response[:begin], response[end:]))
        room = response[begin:end]
        energy = float(np.sum(room**2)) - len(room) * float(np.mean(elsewhere**2))
        loss_db = -10 * float(np.log10(max(energy, 1e-6)))
        return min(loss_db, MAX_LOSS_DB) if loss_db >= MIN_LOSS_DB else 0.0


def _halved(samples: Floats) -> Floats:
    """Low-pass and decimate by two; the result has ``_TAIL_SAMPLES / 2`` fewer than half the samples."""
    middle = samples[len(_LOW_PASS) - 1 :: 2]
    filtered: Floats = np.correlate(samples[::2], _LOW_PASS, mode="valid")  # symmetric taps
    return filtered + _MIDDLE_TAP * middle[: len(filtered)]


def _quiet_loss_db(caller: Floats, bot: Floats) -> float:
    """Return how far the caller's quiet frames lie below the bot: a lower bound of an echo's loss."""
    frames = len(caller) // _FRAME_SAMPLES * _FRAME_SAMPLES
    powers = [np.mean(side[-frames:].reshape(-1, _FRAME_SAMPLES) ** 2, axis=1) for side in (caller, bot)]
    speaks = powers[1] > _QUIET_RMS**2
    if not speaks.any():
        return 0.0
    return 10 * float(
        np.log10(np.quantile(powers[1][speaks] / np.maximum(powers[0][speaks], 1.0), _QUIET_SHARE))
    )
