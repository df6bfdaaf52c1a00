"""Detection of the bot's voice in the caller's audio, with its delay and level. Pure.

An echo is linear: the phone returns its playback with a constant delay and loss, whether or not the caller
speaks. A caller who repeats the bot's words is not an echo, nor is an engine that repeats the caller.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from moshi_phone.audio.formats import PHONE_RATE_HZ
from moshi_phone.conversation.correlation import Floats, correlate, impulse_response, levelled, rms

_RATE_HZ = PHONE_RATE_HZ // 2  # speech below 2 kHz is enough to find an echo, at half the work
_BLOCK_SAMPLES = PHONE_RATE_HZ // 2
_MAX_DELAY_SAMPLES = _RATE_HZ * 9 // 10
_MAX_DELAY_MS = 850.0
_MIN_DELAY_SAMPLES = _RATE_HZ * 3 // 100  # no phone network has a shorter round trip
_MIN_REPEAT_SAMPLES = _RATE_HZ // 20  # an engine answers only after a complete frame of 80 ms
_RECENT_SAMPLES = 5 * PHONE_RATE_HZ
_HISTORY_SAMPLES = 12 * PHONE_RATE_HZ  # the parrot's longest delay plus some seconds of speech
# A low-pass of three taps against aliasing: speech is weak above 2 kHz.
_QUARTER, _HALF = np.float32(0.25), np.float32(0.5)
_QUIET_RMS = 100.0  # of 16-bit samples, -50 dBFS: the bot is silent
_MIN_LEVEL = 0.02  # -34 dB, of the bot's: there is no stronger echo in a quieter half second
_ENVELOPE_SAMPLES = _RATE_HZ // 25
_CLEAR_PEAK = 7.5  # of the correlation, in standard deviations; noise reaches 5 in a thousand blocks
_SUSPECT_PEAK = 6.5  # likewise
_KEPT_BLOCKS = 10
_NEEDED_BLOCKS = 4
_AGREED_SAMPLES = _RATE_HZ // 50  # 20 ms: the phone's buffer may run dry; words said again vary more
# Which blocks must agree: with a peak above this, so many, and this share of all that have one.
_AGREEMENTS = ((_CLEAR_PEAK, _NEEDED_BLOCKS, 0.7), (5.0, 5, 0.8))
_MEMORY = 0.9  # decay of the sum over blocks: about ten blocks count
_CLEAR_SUM = 9.0  # of the sum's peak, in standard deviations
_SUSPECT_SUM = 6.0
_FIRST_S = 6.0  # of the bot's speech
_FIRST_SAMPLES, _SETTLED_SAMPLES = _BLOCK_SAMPLES, 4 * _BLOCK_SAMPLES  # looked at together
_POWER_SAMPLES = PHONE_RATE_HZ // 10
_BLOCK_POWERS, _DELAY_POWERS = _BLOCK_SAMPLES // _POWER_SAMPLES, 2 * _MAX_DELAY_SAMPLES // _POWER_SAMPLES
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
_ALIKE, _DENSE = 0.4, 0.5  # likewise, of two seconds with speech in at least this share
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

    The audio waits until it is looked at: little work at a time would take several times as long as much work
    at once. At first that is each half second, later every two seconds. While the bot speaks, the last half
    second is compared, with three transforms of 5,760 samples; all are compared if there may be an echo.

    Attributes:
        echo: the detected echo, or None.
        bot_s: duration of the bot's speech so far.
        fed_samples: number of samples so far.
    """

    def __init__(self) -> None:
        self.echo: Echo | None = None
        self.bot_s = 0.0
        self.fed_samples = 0
        self._waiting: list[NDArray[np.int16]] = []  # not looked at yet
        # What was looked at last, int16 ``[2, n]`` each, its end, and the end of what is looked at next.
        self._seen = deque[NDArray[np.int16]]()
        self._seen_until, self._look_at = 0, _FIRST_SAMPLES
        self._bot_powers = [0.0] * _DELAY_POWERS  # before what is looked at next, as far as delays reach
        self._blocks: deque[_Block] = deque(maxlen=_KEPT_BLOCKS)
        # Weighted sum of the blocks' correlations, by delay, and the sum of their weights.
        self._sum: Floats = np.zeros(_MAX_DELAY_SAMPLES + 1, np.float32)
        self._weight = 0.0
        self._peaks: deque[tuple[int, float]] = deque(maxlen=_CLEAR_SUMS)  # of the sum: delay, clearness
        self._skipped = 0  # blocks that could have been compared since the last one that was
        self._could_compare = False  # a block of the last audio: the caller was not silent beside the bot
        self._verdict = _Verdict(0, None)
        self._verdict_blocks = 0

    def feed(self, both: NDArray[np.int16]) -> bool:
        """Process the next audio, and return whether the attributes may have changed: every 0.5 or 2 s.

        Args:
            both: int16 ``[n, 2]``, 8 kHz, the caller, and the bot as the caller hears it. Do not change it.
        """
        self._waiting.append(both)
        self.fed_samples += len(both)
        if self.fed_samples < self._look_at:
            return False
        waiting = np.concatenate(self._waiting)
        while (due := self._look_at - self._seen_until) <= len(waiting):
            self._look(waiting[:due])
            waiting = waiting[due:]
        self._waiting = [waiting]
        return True

    def last(self, samples: int) -> NDArray[np.int16]:
        """Return the last audio, int16 ``[n, 2]``: as much as there is, at most 12 s."""
        return np.concatenate([*(part.T for part in self._seen), *self._waiting])[-samples:]

    def _between(self, begin: int, end: int, side: int) -> NDArray[np.int16]:
        """Return one side's audio that was looked at, by its position: int16 ``[end - begin]``."""
        parts, at = list[NDArray[np.int16]](), self._seen_until  # from the last one backwards
        for part in reversed(self._seen):
            if at <= begin:
                break
            if (first := at - part.shape[1]) < end:
                parts.append(part[side, max(0, begin - first) : end - first])
            at = first
        if at > begin:  # silence before the call
            parts.append(np.zeros(at - begin, np.int16))
        return np.concatenate(parts[::-1])

    def _look(self, both: NDArray[np.int16]) -> None:
        begin, self._seen_until = self._seen_until, self._seen_until + len(both)
        sides = both.T.copy()
        self._seen.append(sides)
        while sum(part.shape[1] for part in self._seen) - self._seen[0].shape[1] >= _HISTORY_SAMPLES:
            self._seen.popleft()
        frames = sides.astype(np.float32).reshape(2, -1, _POWER_SAMPLES)
        caller, bot = (np.vecdot(frames, frames) / _POWER_SAMPLES).tolist()
        bot = self._bot_powers + bot
        self._bot_powers = bot[-_DELAY_POWERS:]
        due = list[int]()  # the ends of the blocks that could be compared
        for at in range(0, len(caller), _BLOCK_POWERS):
            heard = sum(bot[at : at + _DELAY_POWERS + _BLOCK_POWERS]) / (_DELAY_POWERS + _BLOCK_POWERS)
            if heard < _QUIET_RMS**2:
                continue
            self.bot_s += _BLOCK_SAMPLES / PHONE_RATE_HZ
            if sum(caller[at : at + _BLOCK_POWERS]) / _BLOCK_POWERS > _MIN_LEVEL**2 * heard:
                due.append(begin + at * _POWER_SAMPLES + _BLOCK_SAMPLES)
        self._skipped += len(due)
        is_new = bool(due) and not self._could_compare
        self._could_compare = bool(due)
        if is_new or (due and self._skipped >= len(both) // _BLOCK_SAMPLES):
            *earlier, latest = due
            self._compare(latest)
            if earlier and self._may_be_echo():
                for end in earlier:
                    self._compare(end)
            self.echo = self._judged(self._agreed() or self._emerged())
            self._skipped = 0
        is_settled = (self.bot_s >= _FIRST_S or self._is_explained) and not self._may_be_echo()
        self._look_at = self._seen_until + (_SETTLED_SAMPLES if is_settled else _FIRST_SAMPLES)

    @property
    def _is_explained(self) -> bool:
        """Whether a parrot explains the correlation."""
        return self._verdict_blocks > 0 and self._verdict.loss_db is None

    def _may_be_echo(self) -> bool:
        if self.echo is not None:  # only its delay is followed
            return False
        if self._is_explained:
            return False
        recent = list(self._blocks)[-_NEEDED_BLOCKS:]
        is_clear = any(block.peak > _SUSPECT_PEAK for block in recent)
        return is_clear or (bool(self._peaks) and self._peaks[-1][1] > _SUSPECT_SUM)

    def _halved(self, begin: int, end: int, side: int) -> Floats:
        """Return one side's audio at half the rate: float32 ``[(end - begin) / 2]``."""
        samples = self._between(begin - 1, end, side).astype(np.float32)
        halved: Floats = samples[:-2:2] + samples[2::2]
        halved *= _QUARTER
        halved += _HALF * samples[1:-1:2]
        return halved

    def _sides(self, samples: int = _HISTORY_SAMPLES) -> list[Floats]:
        """Return the last audio of both sides at half the rate."""
        return [self._halved(self._seen_until - samples, self._seen_until, side) for side in (0, 1)]

    def _compare(self, end: int) -> None:
        """Correlate the block with this end."""
        begin = end - _BLOCK_SAMPLES
        caller, bot = self._halved(begin, end, 0), self._halved(begin - 2 * _MAX_DELAY_SAMPLES, end, 1)
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
        for peak, needed, share in _AGREEMENTS:
            delays = [block.delay for block in self._blocks if block.peak > peak]
            if len(delays) < needed:
                continue
            middle = float(np.median(delays))
            agreed = [delay for delay in delays if abs(delay - middle) <= _AGREED_SAMPLES]
            if len(agreed) >= max(needed, share * len(delays)):
                return round(float(np.median(agreed)))
        return None

    def _emerged(self) -> int | None:
        """Return the delay that the sum of blocks shows, even under the caller's own voice, or None."""
        delays, heights = zip(*self._peaks, strict=True)
        is_clear = len(self._peaks) == _CLEAR_SUMS and min(heights) > _CLEAR_SUM
        return delays[-1] if is_clear and max(delays) - min(delays) <= _AGREED_SAMPLES else None

    def _is_parrot(self) -> bool:
        """Return whether the bot repeats the caller's words at the same level."""
        # Most repeat what was just said, which is found with a third of the work.
        return self._repeats(_RECENT_SAMPLES) or self._repeats(_HISTORY_SAMPLES)

    def _repeats(self, samples: int) -> bool:
        """Return whether the bot repeats what the caller said in the last audio."""
        said = 2 * _RATE_HZ
        caller, bot = self._sides(samples)
        bot = bot[-said:]
        found = correlate(bot, caller)
        found[:_MIN_REPEAT_SAMPLES] = 0.0
        delay = int(np.argmax(np.abs(found)))
        source = caller[len(caller) - said - delay : len(caller) - delay]
        if float(abs(found[delay])) <= 2 * _CLEAR_PEAK:
            return False
        frames = [side.reshape(-1, _FRAME_SAMPLES) for side in (bot, source)]
        powers = [np.mean(frame**2, axis=1) for frame in frames]
        is_loud = powers[0] > _QUIET_RMS**2
        levels = rms(bot) + 1, rms(source) + 1
        if abs(20 * np.log10(levels[0] / levels[1])) < _SAME_LEVEL_DB:
            likeness = float(np.dot(bot, source)) / len(bot) / (levels[0] * levels[1])
            # In short sounds with long pauses, the peak alone is clear.
            if likeness > _ALIKE or np.mean(is_loud) < _DENSE:
                return True
        # Frame by frame: at other times the bot may say something of its own, such as a greeting.
        products = np.mean(frames[0] * frames[1], axis=1)
        is_copy = np.abs(products) > _COPY * np.sqrt(powers[0] * powers[1])
        is_same_level = np.abs(np.log10((powers[0] + 1) / (powers[1] + 1))) < _SAME_LEVEL_DB / 10
        needed_frames = max(1, min(_COPIED_FRAMES, int(np.sum(is_loud))))  # a short sound has one
        return int(np.sum(is_loud & is_copy & is_same_level)) >= needed_frames

    def _loss_db(self, delay: int) -> float:
        """Measure the echo's attenuation, also while the caller speaks; 0 if it is not an echo."""
        caller, bot = self._sides()
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
