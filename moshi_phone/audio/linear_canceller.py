"""Subtracts an echo from the caller's audio with a linear filter, and follows its shifts. Pure.

The filter first learns from the seconds before the echo was found, in which the echo may have shifted. A
later shift is detected with a delay: then the filter returns to its state before the shift, and processes the
blocks since then again. Those that have not been returned yet are filtered again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from moshi_phone.audio.echo_alignment import EchoAlignment, Move, jump, past_moves
from moshi_phone.audio.echo_filter import BLOCK_SAMPLES, WINDOW_SAMPLES, EchoFilter, Filtered, Floats
from moshi_phone.audio.formats import PHONE_RATE_HZ
from moshi_phone.audio.history import History

Samples = NDArray[np.int16]

_PAST_BLOCKS = 3 * PHONE_RATE_HZ // BLOCK_SAMPLES  # of the past, learnt from as soon as an echo is found
_STEPS_AT_ONCE = 20  # of learning, with each new block: the past is learnt in 0.5 s, without a long pause
_OLDER = 0.4  # of the blocks with an echo
# The blocks that can be processed again: shifts are detected sooner.
_RECENT_BLOCKS = PHONE_RATE_HZ // 2 // BLOCK_SAMPLES
_LOST_BLOCKS = 8  # used to search for a large shift of the echo
_MAX_DELAY_SAMPLES = PHONE_RATE_HZ  # the longest echo comes 0.85 s late
_MAX_AHEAD_SAMPLES = PHONE_RATE_HZ
_REFERENCE_SAMPLES = (
    _PAST_BLOCKS * BLOCK_SAMPLES + _MAX_AHEAD_SAMPLES + _MAX_DELAY_SAMPLES + 3 * PHONE_RATE_HZ // 2
)
_SILENT = 32  # of 16-bit samples, -60 dB of full scale: its echo is inaudible
_FULL_SCALE = np.float32(32_768)
_NOTHING: Floats = np.zeros(BLOCK_SAMPLES, np.float32)
# The filter can model an echo after its reference, but not before it. So the reference is delayed by less
# than the measured delay, with a margin for jitter and for an inexact measurement.
_LEFT_TO_FIND_MS = 45.0
_MOVED_SAMPLES = 40 * PHONE_RATE_HZ // 1000


@dataclass
class CancelledBlock:
    """A block of the caller's audio: float32 ``[BLOCK_SAMPLES]``, -1 to 1.

    Attributes:
        near: the caller's audio.
        rest: the same without the echo.
        far: the reference of the echo.
        has_echo: false if the bot was silent for longer than an echo lasts.
    """

    near: Floats
    rest: Floats
    far: Floats
    has_echo: bool


class _Block(NamedTuple):
    """A block of the caller's audio: int16 ``[BLOCK_SAMPLES]``, and the position of its end."""

    samples: Samples
    end: int


class _Tracker:
    """A filter whose reference follows the echo.

    Args:
        loss_db: of the echo, roughly.
        delay: of the reference, in samples.
        window: returns the reference of a block with this end and delay: int16 ``[WINDOW_SAMPLES]``.
    """

    def __init__(self, loss_db: float, delay: int, window: Callable[[int, int], Samples]) -> None:
        self.filter, self.delay, self.alignment = EchoFilter(loss_db), delay, EchoAlignment()
        self._window = window
        # Each block with its position, and the filter's state before it.
        self._recent: deque[tuple[CancelledBlock, int, EchoFilter]] = deque(maxlen=_RECENT_BLOCKS)

    def advance(self, block: _Block) -> CancelledBlock:
        """Filter the next block; after a shift of the echo, filter earlier ones again."""
        near = _as_floats(block.samples)
        cancelled = CancelledBlock(near, near, _NOTHING, has_echo=False)
        filtered = self._advance(cancelled, block.end)
        if filtered.is_restarted:
            self.alignment = EchoAlignment()
        if move := self.alignment.add(near, filtered.echo):
            self._follow(move)
        elif self.alignment.lost_blocks > _LOST_BLOCKS:
            lost = list(self._recent)[-self.alignment.lost_blocks - 1 :]
            learnt = lost[0][2]
            echo = [self._predict(learnt, end) for _, end, _ in lost]
            if samples := jump([block.near for block, _, _ in lost], echo):
                self._follow(Move(samples, len(lost)))
        return cancelled

    def _follow(self, move: Move) -> None:
        self.delay = min(max(0, self.delay + move.samples), _MAX_DELAY_SAMPLES)
        again = [self._recent.pop() for _ in range(min(move.blocks, len(self._recent)))]
        self.filter = again[-1][2]
        self.alignment.restart()
        for before, end, _ in reversed(again):
            self.alignment.add(before.near, self._advance(before, end).echo)

    def learn(self, block: _Block, move: int) -> None:
        """Learn from a past block whose echo was later than that of the latest one by ``samples``."""
        self._filter(_as_floats(block.samples), self._window(block.end, self.delay + move))

    def predict(self, block: _Block) -> Floats:
        """Return the echo in a past block, assuming no shift since then."""
        return self._predict(self.filter, block.end)

    def _predict(self, learnt: EchoFilter, end: int) -> Floats:
        window = self._window(end, self.delay)
        return _NOTHING if _is_silent(window) else learnt.predict(_as_floats(window))

    def _advance(self, cancelled: CancelledBlock, end: int) -> Filtered:
        self._recent.append((cancelled, end, self.filter.copy()))
        window = self._window(end, self.delay)
        filtered = self._filter(cancelled.near, window)
        cancelled.rest, cancelled.has_echo = filtered.rest, not _is_silent(window)
        cancelled.far = _as_floats(window[-BLOCK_SAMPLES:])
        return filtered

    def _filter(self, near: Floats, window: Samples) -> Filtered:
        if _is_silent(window):
            return Filtered(near, _NOTHING)
        return self.filter.process(near, _as_floats(window))


class LinearCanceller:
    """One call's linear canceller: 8 kHz, mono, int16.

    Positions count samples of the caller's audio; the bot's audio has the positions at which it is heard.
    """

    def __init__(self) -> None:
        self._bot, self._bot_end = History(_REFERENCE_SAMPLES, np.int16), 0
        self._caller_end = 0
        self._past: deque[_Block] = deque(maxlen=_PAST_BLOCKS)
        self._tracker: _Tracker | None = None  # None until an echo is found
        self._found_delay = 0  # of the reference, in samples, with which the tracker began
        self._learning: Iterator[None] = iter(())  # each item is a step of it
        self._to_learn: deque[_Block] = deque()  # the rest of the past blocks

    def play(self, bot: Samples) -> None:
        """Add the audio that the caller hears during the next input of ``process``; of the same length."""
        self._bot.append(bot)
        self._bot_end += len(bot)
        self._caller_end = max(self._caller_end, self._bot_end - _MAX_AHEAD_SAMPLES)

    def keep(self, near: Samples) -> None:
        """Store the caller's next audio, whole blocks, to learn from once an echo is found."""
        self._past.extend(self._blocks(near))

    def _blocks(self, near: Samples) -> list[_Block]:
        self._caller_end = min(self._caller_end + len(near), self._bot_end)
        ends = range(BLOCK_SAMPLES, len(near) + 1, BLOCK_SAMPLES)
        return [_Block(near[end - BLOCK_SAMPLES : end], self._caller_end - len(near) + end) for end in ends]

    def start(self, delay_ms: float, loss_db: float) -> None:
        """Begin to cancel an echo, or one whose delay has changed.

        Args:
            delay_ms: of the echo; 0 if unknown.
            loss_db: of the echo, roughly.
        """
        delay = round(max(0.0, delay_ms - _LEFT_TO_FIND_MS) * PHONE_RATE_HZ / 1000)
        is_new = abs(delay - self._found_delay) > _MOVED_SAMPLES
        # The tracker may have followed the echo before it was measured again.
        if self._tracker is None or (is_new and abs(delay - self._tracker.delay) > _MOVED_SAMPLES):
            self._found_delay = delay
            self._tracker = _Tracker(loss_db, delay, self._window)
            self._to_learn = deque(self._past)
            self._learning = self._learn(self._tracker)

    def process(self, near: Samples) -> list[CancelledBlock]:
        """Subtract the echo from the caller's next audio, whole blocks.

        Raises:
            RuntimeError: before ``start``.
        """
        if self._tracker is None:
            raise RuntimeError("expected start before process")
        blocks = self._blocks(near)
        self._past.extend(blocks)
        return [self._process(block, self._tracker) for block in blocks]

    def _process(self, block: _Block, tracker: _Tracker) -> CancelledBlock:
        if self._to_learn:
            self._to_learn.append(block)
            for _ in range(_STEPS_AT_ONCE):
                next(self._learning, None)
            if self._to_learn:
                near, window = _as_floats(block.samples), self._window(block.end, tracker.delay)
                far = _as_floats(window[-BLOCK_SAMPLES:])
                return CancelledBlock(near, near, far, has_echo=not _is_silent(window))
        return tracker.advance(block)

    def _learn(self, tracker: _Tracker) -> Iterator[None]:
        """Learn from the past until the present is reached, a block at each step."""
        past = list(self._to_learn)
        # Only the newer part at first: a filter trained on all of it would also fit the echo before a shift.
        heard = [
            at for at, block in enumerate(past) if not _is_silent(self._window(block.end, tracker.delay))
        ]
        for block in past[heard[int(_OLDER * len(heard))] if heard else 0 :]:
            tracker.advance(block)
            yield
        # With the filter's present state, the shifts in all past blocks are found.
        echo = list[Floats]()
        for block in past:
            echo.append(tracker.predict(block))
            yield
        moves = past_moves([_as_floats(block.samples) for block in past], echo)
        tracker.filter.forget_certainty()
        for block, move in zip(past, moves.tolist(), strict=True):
            tracker.learn(block, move)
            self._to_learn.popleft()
            yield
        tracker.delay += int(moves[-1])
        tracker.alignment.restart()
        while len(self._to_learn) > 1:  # the last one is the present
            tracker.advance(self._to_learn.popleft())
            yield
        self._to_learn.clear()

    def _window(self, end: int, delay: int) -> Samples:
        """Return the reference of a block of the caller's audio with this end."""
        stop = max(WINDOW_SAMPLES, _REFERENCE_SAMPLES - (self._bot_end - end) - delay)
        return self._bot.last[stop - WINDOW_SAMPLES : stop]


def _as_floats(samples: Samples) -> Floats:
    return samples.astype(np.float32) / _FULL_SCALE


def _is_silent(window: Samples) -> bool:
    return bool(window.max() < _SILENT and window.min() > -_SILENT)
