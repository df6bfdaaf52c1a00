"""Analysis of running calls' conversations, in a separate thread so that the audio never waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from loguru import logger
from numpy.typing import NDArray

from moshi_phone.audio.formats import PHONE_RATE_HZ
from moshi_phone.conversation.metrics import ConversationMetrics
from moshi_phone.conversation.ongoing import Findings, Moment, OngoingConversation
from moshi_phone.conversation.silero import Judging, judge_together

_PIECE_SAMPLES = PHONE_RATE_HZ * 64 // 100  # 640 ms: the thread is woken three times in two seconds
_MAX_WAITING_SAMPLES = 30 * PHONE_RATE_HZ  # a machine this far behind is too slow to measure


class Judge:
    """Analyses the conversations of all calls in one thread, with one network for all voices.

    When one conversation has a full piece of audio, the audio of all others is processed in the same batch,
    which keeps the calls in step. One batch runs at a time. Use it on the event loop only.

    Args:
        worker: an executor with one thread.
    """

    def __init__(self, worker: Executor) -> None:
        self.worker = worker
        self._talks: list[LiveConversation] = []  # of all running calls
        self._work: Future[list[Findings | BaseException]] | None = None  # the running batch

    def start(self, due: LiveConversation) -> None:
        """Process a conversation's waiting audio, at once or after the running batch."""
        if due not in self._talks:
            self._talks.append(due)
        if self._work is None:
            self._start()

    def remove(self, talk: LiveConversation) -> None:
        """Stop processing a conversation. May be called twice."""
        if talk in self._talks:
            self._talks.remove(talk)

    def _start(self) -> None:
        talks = [talk for talk in self._talks if talk.has_work]
        pieces = [talk.next_piece() for talk in talks]
        loop = asyncio.get_running_loop()
        try:
            self._work = self.worker.submit(_judge, pieces)
        except RuntimeError:  # the executor has shut down: the program ends
            for talk in talks:
                talk.give_up()
            return

        def tell(work: Future[list[Findings | BaseException]]) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._judged, talks, work)

        self._work.add_done_callback(tell)

    def _judged(
        self, talks: Sequence[LiveConversation], work: Future[list[Findings | BaseException]]
    ) -> None:
        self._work = None
        if work.cancelled():
            for talk in talks:
                talk.give_up()
            return
        error = work.exception()
        results = work.result() if error is None else [error] * len(talks)
        for talk, found in zip(talks, results, strict=True):
            talk.judged(found)
        if any(talk.is_due for talk in self._talks):
            self._start()


class _Piece(NamedTuple):
    """The next audio of one conversation."""

    talk: OngoingConversation
    blocks: Sequence[NDArray[np.int16]]
    is_last: bool


@dataclass(eq=False)
class LiveConversation:
    """The live analysis of one call: updates its metrics and notifies watchers about every 0.6 s.

    Every method runs on the event loop and does not block.

    Attributes:
        judge: shared by all calls.
        metrics: updated with each batch.
        watchers: called with each ``Moment``.
        version: changes with ``strip``.
        strip: speech segments of the last minute, with responses and interruptions, for the page.
    """

    judge: Judge
    metrics: ConversationMetrics = field(default_factory=ConversationMetrics)
    watchers: list[Callable[[Moment], None]] = field(default_factory=list[Callable[[Moment], None]])
    version: int = 0
    strip: dict[str, Any] = field(default_factory=dict[str, Any])
    _talk: OngoingConversation = field(default_factory=OngoingConversation)
    _waiting: list[NDArray[np.int16]] = field(default_factory=list[NDArray[np.int16]])
    _waiting_samples: int = 0
    _taken_samples: int = 0
    _key_s: float = 0.0  # time of the caller's last key press
    _is_closed: bool = False
    _is_last: bool = False  # the piece in progress is the last one
    _finished: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def has_work(self) -> bool:
        """Whether audio waits, or the end is due."""
        return self._is_closed or self._waiting_samples > 0

    @property
    def is_due(self) -> bool:
        """Whether a full piece waits, or the end is due."""
        return self._is_closed or self._waiting_samples >= _PIECE_SAMPLES

    def take(self, both: NDArray[np.int16]) -> None:
        """Queue the next audio, int16 ``[n, 2]``, 8 kHz: the caller, and the bot as the caller hears it."""
        if self._is_closed:
            return
        self._waiting.append(both)
        self._waiting_samples += len(both)
        self._taken_samples += len(both)
        if self._waiting_samples > _MAX_WAITING_SAMPLES:
            logger.warning(
                "This machine has no time to measure the conversation; it is not measured any more"
            )
            self.give_up()
        elif self.is_due:
            self.judge.start(self)

    def key_pressed(self) -> None:
        """Record a key press, which counts as activity of the caller."""
        self._key_s = self._taken_samples / PHONE_RATE_HZ

    def close(self) -> None:
        """End the call, and process the remaining audio. May be called twice."""
        if not self._is_closed:
            self._is_closed = True
            self.judge.start(self)

    async def finished(self) -> None:
        """Wait until the whole call has been processed; returns at once before ``close``."""
        if self._is_closed:
            await self._finished.wait()

    def give_up(self) -> None:
        """Stop measuring this call."""
        self._is_closed = True
        self._waiting, self._waiting_samples = [], 0
        self._end()

    def next_piece(self) -> _Piece:
        """Return the waiting audio; called by the judge."""
        blocks, self._waiting, self._waiting_samples = self._waiting, [], 0
        self._is_last = self._is_closed
        return _Piece(self._talk, blocks, self._is_last)

    def judged(self, found: Findings | BaseException) -> None:
        """Apply the judge's findings or its error."""
        if isinstance(found, BaseException):
            logger.opt(exception=found).error("The conversation could not be judged")
            self.give_up()
            return
        self.metrics.add(found.events)
        self.metrics.longest_silence_s = found.longest_silence_s
        self.strip = found.strip
        self.version += 1
        moment = found.moment
        if self._key_s > moment.caller_until_s:
            moment = replace(moment, caller_until_s=self._key_s)
        for watcher in self.watchers:
            watcher(moment)
        if self._is_last:
            self._end()

    def _end(self) -> None:
        self.judge.remove(self)
        self._finished.set()


def _judge(pieces: Sequence[_Piece]) -> list[Findings | BaseException]:
    """Process one batch. Runs in the worker's thread."""
    results: list[Findings | BaseException] = []
    voices: list[Judging] = []
    for piece in pieces:
        if piece.blocks:
            voices += piece.talk.judging(np.concatenate(piece.blocks))
    errors = iter(judge_together(voices))
    for piece in pieces:
        error = next(errors) or next(errors) if piece.blocks else None
        try:
            results.append(error or piece.talk.findings(is_over=piece.is_last))
        except Exception as broken:  # affects one call only
            results.append(broken)
    return results
