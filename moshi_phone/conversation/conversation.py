"""Analysis of a conversation: both voices in, segments, events and metrics out. Pure.

Used for running calls and for recordings: the result does not depend on the block sizes.
"""

from __future__ import annotations

from dataclasses import asdict
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moshi_phone.audio.formats import PHONE_RATE_HZ
from moshi_phone.conversation.events import Backchannel, Event, Interruption, Pause, Response, Turn
from moshi_phone.conversation.segmenter import SpeechSegmenter
from moshi_phone.conversation.silero import Judging, judge_together
from moshi_phone.conversation.span import Span, bridged, common, gaps, total_s
from moshi_phone.conversation.turns import BOT_BRIDGE_S, CALLER_BRIDGE_S, Voices, find_events


class Conversation:
    """The speech segments and events of a call so far.

    Attributes:
        caller: detects the caller's speech.
        bot: detects the bot's speech.
        events: final events, in order.
        secs: duration of the audio so far.
    """

    def __init__(self) -> None:
        self.caller = SpeechSegmenter()
        self.bot = SpeechSegmenter()
        self.events: list[Event] = []  # final ones, in order; never revised
        self.secs = 0.0  # of audio so far: the only clock
        self._samples = 0  # of audio so far
        self._is_over = False

    def feed(self, both: NDArray[np.int16]) -> list[Event]:
        """Process the next audio, and return the events that became final.

        Args:
            both: int16 ``[n, 2]``, 8 kHz: the caller, and the bot as the caller hears it, on one time line.
        """
        for error in filter(None, judge_together(self.judging(both))):
            raise error
        return self.found()

    def judging(self, both: NDArray[np.int16]) -> tuple[Judging, Judging]:
        """Return generators over the two voices' next audio; exhaust both before calling ``found``."""
        self._samples += len(both)
        self.secs = self._samples / PHONE_RATE_HZ
        return self.caller.judging(both[:, 0]), self.bot.judging(both[:, 1])

    def found(self) -> list[Event]:
        """Return the events that became final since the last call."""
        after_s = self.events[-1].end_s if self.events else -1.0
        found = find_events(self.voices, after_s)
        self.events += found
        return found

    def finish(self) -> list[Event]:
        """End the conversation, and return the last events. May be called twice."""
        if self._is_over:
            return []
        self._is_over = True
        self.caller.finish()
        self.bot.finish()
        return self.found()

    @property
    def voices(self) -> Voices:
        """The speech segments of both voices so far."""
        until_s = self.secs if self._is_over else min(self.caller.heard_s, self.bot.heard_s)
        return Voices(self.caller.spans, self.bot.spans, until_s, self._is_over)


def turns_of(events: list[Event]) -> list[Turn]:
    """Return the caller's turns."""
    return [event for event in events if isinstance(event, Turn)]


def responses_of(events: list[Event]) -> list[Response]:
    """Return the bot's responses."""
    return [turn.response for turn in turns_of(events) if turn.response]


def interruptions_of(events: list[Event]) -> list[Interruption]:
    """Return the interruptions."""
    return [turn.interruption for turn in turns_of(events) if turn.interruption]


def pauses_of(events: list[Event]) -> list[Pause]:
    """Return the pauses within turns."""
    return [pause for turn in turns_of(events) for pause in turn.pauses]


def backchannels_of(events: list[Event]) -> list[Backchannel]:
    """Return the caller's backchannels."""
    return [event for event in events if isinstance(event, Backchannel)]


def summary(voices: Voices, events: list[Event]) -> dict[str, Any]:
    """Summarize a conversation, for ``conversation`` in ``report.json`` and ``review --json``.

    Args:
        voices: the speech segments of both voices.
        events: the conversation's events.
    """
    turns, secs = turns_of(events), voices.until_s
    caller, bot = list(voices.caller), list(voices.bot)
    either = sorted([*caller, *bot])
    silent = gaps(either, secs)
    longest = max(silent, key=lambda span: span.secs, default=Span(0.0, 0.0))
    first = either[0] if either else None
    gaps_ms = [response.gap_ms for response in responses_of(events)]
    stops_ms = [one.stop_ms for one in interruptions_of(events) if one.stop_ms is not None]
    monologues = {"caller": bridged(caller, CALLER_BRIDGE_S), "bot": bridged(bot, BOT_BRIDGE_S)}
    return {
        "secs": round(secs, 2),
        "first_speaker": None if first is None else "caller" if first in caller else "bot",
        "first_speech_s": None if first is None else round(first.begin_s, 3),
        "responses": [_rounded(asdict(response)) for response in responses_of(events)],
        "response_p50_ms": round(median(gaps_ms), 1) if gaps_ms else None,
        "turns": len(turns),
        "unanswered_turns": sum(turn.response is None for turn in turns),
        "interruptions": [_rounded(asdict(one)) for one in interruptions_of(events)],
        "stop_p50_ms": round(median(stops_ms), 1) if stops_ms else None,
        "pauses": [_rounded(asdict(pause)) for pause in pauses_of(events)],
        "takeovers_in_pauses": sum(pause.taken for pause in pauses_of(events)),
        "backchannels": [_rounded(asdict(one)) for one in backchannels_of(events)],
        "backchannel_stops": sum(one.stopped for one in backchannels_of(events)),
        "bot_backchannels": sum(turn.bot_backchannels for turn in turns),
        "bot_interruptions": sum(turn.bot_interruptions for turn in turns),
        "longest_silence_s": round(longest.secs, 2),
        "longest_silence_at_s": round(longest.begin_s, 2),
        "longest_monologue_s": {
            side: round(max((span.secs for span in spans), default=0.0), 2)
            for side, spans in monologues.items()
        },
        "share": _shares(caller, bot, secs),
        "segments": {
            side: [[round(span.begin_s, 3), round(span.end_s, 3)] for span in spans]
            for side, spans in (("caller", caller), ("bot", bot))
        },
    }


def _shares(caller: list[Span], bot: list[Span], secs: float) -> dict[str, float]:
    """Return the shares of time in which one, both or neither spoke."""
    if not secs:
        return {"caller": 0.0, "bot": 0.0, "both": 0.0, "nobody": 1.0}
    both = total_s(common(caller, bot)) / secs
    caller_share, bot_share = total_s(caller) / secs - both, total_s(bot) / secs - both
    shares = {"caller": caller_share, "bot": bot_share, "both": both}
    return {name: round(share, 3) for name, share in shares.items()} | {
        "nobody": round(max(0.0, 1 - sum(shares.values())), 3)
    }


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in values.items()}
