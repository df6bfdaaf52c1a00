"""State of a running conversation: metrics, and the data of the page's time line. Pure."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from moshi_phone.conversation.conversation import Conversation, interruptions_of, responses_of
from moshi_phone.conversation.events import Event
from moshi_phone.conversation.silero import Judging
from moshi_phone.conversation.span import Span, bridged

_SHOWN_S = 60.0
_WAITED_S = 2.0  # after this silence the caller waits for an answer
_ONSET_S = 0.3  # maximum delay of a detected onset


@dataclass(frozen=True, slots=True)
class Moment:
    """The state of a conversation at one time.

    Attributes:
        heard_s: end of the processed audio.
        caller_until_s: time of the caller's last speech or key press; ``heard_s`` while they speak, 0
            without either.
        unanswered_since_s: end of the caller's first utterance since the bot was last heard, if the caller
            waits for an answer; otherwise None.
        bot_heard_until_s: time of the last sound of the bot, speech or not; 0 without any.
    """

    heard_s: float
    caller_until_s: float
    unanswered_since_s: float | None
    bot_heard_until_s: float


@dataclass(frozen=True, slots=True)
class Findings:
    """The results of one piece of a call.

    Attributes:
        events: events that became final.
        moment: the state at the piece's end.
        strip: speech segments of the last minute, with responses and interruptions.
        longest_silence_s: longest silence of the call so far.
    """

    events: list[Event]
    moment: Moment
    strip: dict[str, Any]
    longest_silence_s: float


class _Quiet(NamedTuple):
    """Begin of the current silence, and the longest silence so far."""

    since_s: float
    longest_s: float


_NO_QUIET = _Quiet(0.0, 0.0)


class OngoingConversation:
    """Analyses a call piece by piece."""

    def __init__(self) -> None:
        self._talk = Conversation()
        self._quiet = _NO_QUIET

    def judging(self, both: NDArray[np.int16]) -> tuple[Judging, Judging]:
        """Return generators over the next piece, int16 ``[n, 2]``, for ``silero.judge_together``."""
        return self._talk.judging(both)

    def findings(self, *, is_over: bool) -> Findings:
        """Return the piece's results. Call it after ``judge_together``."""
        talk = self._talk
        events = talk.found()
        if is_over:
            events += talk.finish()
        moment = _moment(talk)
        return Findings(events, moment, _strip(talk, moment.heard_s), self._longest_silence_s())

    def _longest_silence_s(self) -> float:
        """Update the longest silence, from the end of the last update."""
        voices, quiet_s, longest_s = self._talk.voices, *self._quiet
        sides = (voices.caller, voices.bot)
        spoken = sorted(span for side in sides for span in side[bisect_left(side, quiet_s, key=_end_s) :])
        for span in spoken:
            longest_s = max(longest_s, span.begin_s - quiet_s)
            quiet_s = max(quiet_s, span.end_s)
        # The newest audio may still become the start of a segment.
        until_s = voices.until_s if voices.over else voices.until_s - _ONSET_S
        longest_s = max(longest_s, until_s - quiet_s)
        self._quiet = _Quiet(quiet_s, longest_s)
        return longest_s


def _moment(talk: Conversation) -> Moment:
    heard_s, bot_s = talk.voices.until_s, talk.bot.sound_until_s
    segments = talk.caller.spans
    speaking = talk.caller.open_since_s is not None
    until_s = heard_s if speaking else segments[-1].end_s if segments else 0.0
    # A caller who is still speaking does not wait for an answer.
    spoken = bridged(segments[bisect_left(segments, bot_s, key=_end_s) :], _WAITED_S)
    waits = bool(spoken) and (len(spoken) > 1 or heard_s - spoken[0].end_s > _WAITED_S)
    return Moment(heard_s, until_s, spoken[0].end_s if waits else None, bot_s)


def _strip(talk: Conversation, until_s: float) -> dict[str, Any]:
    """Return the last minute's segments and events, for the page."""
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
