"""The conversation of a call that runs: judged in another thread, so that the audio never waits for it."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from loguru import logger
from numpy.typing import NDArray

from moshi_phone.audio.formats import PHONE_RATE_HZ
from moshi_phone.conversation.conversation import Conversation, interruptions_of, responses_of
from moshi_phone.conversation.events import Event
from moshi_phone.conversation.metrics import ConversationMetrics
from moshi_phone.conversation.span import Span, bridged

_BATCH_SAMPLES = PHONE_RATE_HZ * 48 // 100  # 480 ms: a thread is woken twice a second, not twelve times
_MAX_WAITING_SAMPLES = 30 * PHONE_RATE_HZ  # a machine that is so far behind has no time to measure
_SHOWN_S = 60.0
_WAITED_S = 2.0  # a caller who is silent for so long waits for an answer
_ONSET_S = 0.3  # an onset is known so late at most


@dataclass(frozen=True, slots=True)
class Moment:
    """What is known of a conversation at one moment of the call.

    Attributes:
        heard_s: up to where the call was judged.
        caller_until_s: when the caller last spoke; ``heard_s`` while they do, 0 where they never did.
        unanswered_since_s: when the caller had first spoken and waited after the bot was last heard; None
            where they did not.
        bot_heard_until_s: when anything was last heard of the bot, speech or not; 0 where nothing was.
    """

    heard_s: float
    caller_until_s: float
    unanswered_since_s: float | None
    bot_heard_until_s: float


@dataclass(frozen=True, slots=True)
class _Judged:
    """What a piece of work has found."""

    events: list[Event]
    moment: Moment
    strip: dict[str, Any]
    longest_silence_s: float


class _Quiet(NamedTuple):
    """Since when nobody has spoken, and for how long that was so at most."""

    since_s: float
    longest_s: float


_NO_QUIET = _Quiet(0.0, 0.0)


@dataclass
class LiveConversation:
    """Takes both voices as they come; counts, and tells watchers, about twice a second.

    All of it is called on the event loop, and returns at once. There is one piece of work at a time, so the
    executor's queue holds no more than one for each call.

    Attributes:
        worker: judges; one thread for all calls.
        metrics: are filled.
        watchers: are told of each moment.
        version: changes whenever ``strip`` does.
        strip: who spoke when in the last minute, with responses and interruptions, for the page.
    """

    worker: Executor
    metrics: ConversationMetrics = field(default_factory=ConversationMetrics)
    watchers: list[Callable[[Moment], None]] = field(default_factory=list[Callable[[Moment], None]])
    version: int = 0
    strip: dict[str, Any] = field(default_factory=dict[str, Any])
    _talk: Conversation | None = None
    _quiet: _Quiet = _NO_QUIET
    _waiting: list[NDArray[np.int16]] = field(default_factory=list[NDArray[np.int16]])
    _waiting_samples: int = 0
    _work: Future[_Judged] | None = None
    _is_closed: bool = False
    _is_finishing: bool = False
    _finished: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, both: NDArray[np.int16]) -> None:
        """Take the next audio, int16 ``[n, 2]``, 8 kHz: the caller, and the bot as the caller hears it."""
        if self._is_closed:
            return
        self._waiting.append(both)
        self._waiting_samples += len(both)
        if self._waiting_samples > _MAX_WAITING_SAMPLES:
            logger.warning(
                "This machine has no time to measure the conversation; it is not measured any more"
            )
            self._give_up()
        elif self._work is None and self._waiting_samples >= _BATCH_SAMPLES:
            self._submit()

    def close(self) -> None:
        """Judge what is left: the call is over. May be called twice."""
        if not self._is_closed:
            self._is_closed = True
            if self._work is None:
                self._submit()

    async def finished(self) -> None:
        """Wait until all of the call has been judged; at once where it was not closed."""
        if self._is_closed:
            await self._finished.wait()

    def _give_up(self) -> None:
        self._is_closed = True
        self._waiting, self._waiting_samples = [], 0
        self._finished.set()

    def _submit(self) -> None:
        blocks, self._waiting, self._waiting_samples = self._waiting, [], 0
        self._is_finishing = self._is_closed
        loop = asyncio.get_running_loop()
        try:
            self._work = self.worker.submit(self._judge, blocks, self._is_finishing)
        except RuntimeError:  # the program ends
            self._give_up()
            return

        def tell(work: Future[_Judged]) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._judged, work)

        self._work.add_done_callback(tell)

    def _judge(self, blocks: list[NDArray[np.int16]], is_over: bool) -> _Judged:
        """Runs in the worker's thread, one at a time."""
        if self._talk is None:
            self._talk = Conversation()  # here, since the first one of a process loads the network
        talk, events = self._talk, list[Event]()
        if blocks:
            events += talk.feed(np.concatenate(blocks))
        if is_over:
            events += talk.finish()
        moment = _moment(talk)
        return _Judged(events, moment, _strip(talk, moment.heard_s), self._longest_silence_s(talk))

    def _longest_silence_s(self, talk: Conversation) -> float:
        """Go on from where the last look ended."""
        voices, quiet_s, longest_s = talk.voices, *self._quiet
        sides = (voices.caller, voices.bot)
        spoken = sorted(span for side in sides for span in side[bisect_left(side, quiet_s, key=_end_s) :])
        for span in spoken:
            longest_s = max(longest_s, span.begin_s - quiet_s)
            quiet_s = max(quiet_s, span.end_s)
        # What was just heard may still become the beginning of a segment.
        until_s = voices.until_s if voices.over else voices.until_s - _ONSET_S
        longest_s = max(longest_s, until_s - quiet_s)
        self._quiet = _Quiet(quiet_s, longest_s)
        return longest_s

    def _judged(self, work: Future[_Judged]) -> None:
        self._work = None
        if work.cancelled():
            self._give_up()
            return
        if error := work.exception():
            logger.opt(exception=error).error("The conversation could not be judged")
            self._give_up()
            return
        found = work.result()
        self.metrics.add(found.events)
        self.metrics.longest_silence_s = found.longest_silence_s
        self.strip = found.strip
        self.version += 1
        for watcher in self.watchers:
            watcher(found.moment)
        if self._is_finishing:
            self._finished.set()
        elif self._is_closed or self._waiting_samples >= _BATCH_SAMPLES:
            self._submit()


def _moment(talk: Conversation) -> Moment:
    heard_s, bot_s = talk.voices.until_s, talk.bot.sound_until_s
    segments = talk.caller.spans
    speaking = talk.caller.open_since_s is not None
    until_s = heard_s if speaking else segments[-1].end_s if segments else 0.0
    # A caller who speaks on is owed nothing yet.
    spoken = bridged(segments[bisect_left(segments, bot_s, key=_end_s) :], _WAITED_S)
    waits = bool(spoken) and (len(spoken) > 1 or heard_s - spoken[0].end_s > _WAITED_S)
    return Moment(heard_s, until_s, spoken[0].end_s if waits else None, bot_s)


def _strip(talk: Conversation, until_s: float) -> dict[str, Any]:
    """Give the last minute, for the page."""
    from_s = until_s - _SHOWN_S
    shown = [event for event in talk.events[-64:] if event.end_s >= from_s]
    return {
        "until_s": round(until_s, 2),
        "caller": _since(talk.caller.spans, from_s),
        "bot": _since(talk.bot.spans, from_s),
        "responses": [[round(one.at_s, 2), round(one.gap_ms)] for one in responses_of(shown)],
        "interruptions": [
            [round(one.at_s, 2), None if one.stop_ms is None else round(one.stop_ms), one.yielded]
            for one in interruptions_of(shown)
        ],
    }


def _since(spans: list[Span], from_s: float) -> list[list[float]]:
    first = bisect_left(spans, from_s, key=_end_s)
    return [[round(span.begin_s, 2), round(span.end_s, 2)] for span in spans[first:]]


def _end_s(span: Span) -> float:
    return span.end_s
