"""Derivation of turns, responses, interruptions and backchannels from speech segments. Pure.

The definitions are those of Full-Duplex-Bench. A recording does not say which silences are pauses, so the
constants below decide; docs/conversation.md explains them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from moshi_phone.conversation.events import Backchannel, Event, Interruption, Pause, Response, Turn
from moshi_phone.conversation.span import Span, bridged, covering

CALLER_BRIDGE_S, BOT_BRIDGE_S = 0.6, 0.5
"""Shorter pauses of the caller or the bot belong to one utterance."""
TAKEOVER_S = 1.0
"""An utterance this long takes the turn; a shorter one during the other's speech is a backchannel."""

_PAUSE_S = 0.2  # shorter silences occur inside words
_MAX_PAUSE_S = 2.0  # after a longer one the caller begins a new turn
_RESUMED_S = 1.2  # a speaker who continues this soon after the other's start had not finished
_CUT_OFF_S = 0.6  # an utterance this long took the turn, even if the caller's speech cut it off
_EARLY_S = 1.0  # a bot that starts this long before a turn's end answers it; earlier, it interrupts
_OVERLAP_S = 0.2  # this much overlap is a normal change of turns
_STOP_S = 1.0  # a bot that stops this soon after a backchannel's start stops because of it


@dataclass(frozen=True)
class Voices:
    """Speech segments of both voices up to a time.

    Attributes:
        caller: the caller's segments, in order; the last one may be open.
        bot: the bot's segments, in order; the last one may be open.
        until_s: end of the processed audio.
        over: whether the call has ended.
    """

    caller: Sequence[Span]
    bot: Sequence[Span]
    until_s: float
    over: bool = True


def find_events(voices: Voices, after_s: float = -1.0) -> list[Event]:
    """Return the final events, in order, for the caller's utterances that begin after a time.

    The result ends before the first event that later speech could still change.
    """
    return _Finder(voices, after_s).find()


class _Undecided(Exception):
    """Later speech decides the event."""


class _Finder:
    """Walks through the caller's turns; see ``find_events``."""

    def __init__(self, voices: Voices, after_s: float) -> None:
        self._segments = voices.caller[bisect_right(voices.caller, after_s, key=_begin_s) :]
        self._caller = bridged(self._segments, CALLER_BRIDGE_S)
        # Include the bot's utterance at that time.
        earlier_s = after_s - 2 * BOT_BRIDGE_S
        self._bot = bridged(voices.bot[bisect_left(voices.bot, earlier_s, key=_end_s) :], BOT_BRIDGE_S)
        self._until_s, self._over = voices.until_s, voices.over

    def find(self) -> list[Event]:
        found: list[Event] = []
        index = 0
        try:
            while index < len(self._caller):
                event, index = self._next(index)
                found.append(event)
        except _Undecided:
            pass
        return found

    def _next(self, index: int) -> tuple[Event, int]:
        first = self._caller[index]
        heard = covering(self._bot, first.begin_s)
        if heard and not self._is_turn(first):
            return self._backchannel(first, heard), index + 1
        pauses: list[Pause] = []
        last = index
        while (pause := self._pause_after(last)) is not None:
            pauses.append(pause)
            last += 1
        turn = Span(first.begin_s, self._caller[last].end_s)
        return self._turn(turn, pauses, last, heard), last + 1

    def _backchannel(self, said: Span, heard: Span) -> Backchannel:
        stop_s = said.begin_s + _STOP_S
        if heard.end_s <= stop_s and not self._is_final(heard, BOT_BRIDGE_S):
            raise _Undecided
        return Backchannel(said.begin_s, said.end_s, heard.end_s <= stop_s)

    def _turn(self, turn: Span, longer: list[Pause], last: int, heard: Span | None) -> Turn:
        pauses = sorted([*longer, *self._short_pauses(turn)], key=lambda pause: pause.at_s)
        following = self._caller[last + 1].begin_s if last + 1 < len(self._caller) else None
        answer = self._answer(turn, following)
        taken = [Span(pause.at_s, pause.at_s + pause.secs) for pause in pauses if pause.taken]
        within = [
            one
            for one in self._bot_starts(turn.begin_s, turn.end_s)
            if one != answer and covering(taken, one.begin_s) is None
        ]
        short = [one for one in within if not self._lasts(one, TAKEOVER_S, BOT_BRIDGE_S)]
        return Turn(
            turn.begin_s,
            turn.end_s,
            tuple(pauses),
            None if answer is None else Response(turn.end_s, (answer.begin_s - turn.end_s) * 1000),
            self._interruption(turn, heard) if heard else None,
            len(short),
            sum(one not in short and covering(self._segments, one.begin_s) is not None for one in within),
        )

    def _answer(self, turn: Span, following_s: float | None) -> Span | None:
        """Return the bot's utterance that answers a turn, or None."""
        early_s = max(turn.begin_s, turn.end_s - _EARLY_S)
        for one in self._bot_starts(early_s, self._until_s + 1 if following_s is None else following_s):
            # An utterance that ends with the turn is a backchannel, not an answer.
            if one.end_s > turn.end_s + _OVERLAP_S:
                return one
            if not self._is_final(one, BOT_BRIDGE_S):
                raise _Undecided
        if following_s is None and not self._over:
            raise _Undecided
        return None

    def _interruption(self, turn: Span, heard: Span) -> Interruption:
        if self._is_final(heard, BOT_BRIDGE_S):
            ended = not (self._over and heard.end_s >= self._until_s - _OVERLAP_S)
            stop_ms = (heard.end_s - turn.begin_s) * 1000 if ended else None
            return Interruption(turn.begin_s, stop_ms, ended and heard.end_s <= turn.end_s + _OVERLAP_S)
        raise _Undecided

    def _pause_after(self, index: int) -> Pause | None:
        """Return the pause after an utterance, or None if the utterance ends its turn."""
        said = self._caller[index]
        if index + 1 == len(self._caller):
            # The caller may continue within the longest pause.
            if self._over or self._until_s - said.end_s > _MAX_PAUSE_S + CALLER_BRIDGE_S:
                return None
            raise _Undecided
        resumed = self._caller[index + 1]
        secs = resumed.begin_s - said.end_s
        if secs > _MAX_PAUSE_S or covering(self._bot, said.end_s - _OVERLAP_S):
            return None
        starts = self._bot_starts(said.end_s - _OVERLAP_S, resumed.begin_s)
        if not starts:
            return Pause(said.end_s, secs, taken=False)
        bot = starts[-1]
        if bot.end_s < resumed.begin_s - _OVERLAP_S:
            return None  # the bot took a whole turn
        if resumed.begin_s - starts[0].begin_s > _RESUMED_S or not self._is_turn(resumed):
            return None
        return Pause(said.end_s, secs, self._takes_over(bot, resumed))

    def _short_pauses(self, turn: Span) -> list[Pause]:
        """Return the short pauses inside the turn's utterances, which bridging has removed."""
        low = bisect_left(self._segments, turn.begin_s, key=_begin_s)
        high = bisect_left(self._segments, turn.end_s, key=_begin_s)
        segments = self._segments[low:high]
        pauses: list[Pause] = []
        for said, resumed in pairwise(segments):
            secs = resumed.begin_s - said.end_s
            if _PAUSE_S <= secs <= CALLER_BRIDGE_S:
                starts = self._bot_starts(said.end_s, resumed.begin_s)
                rest = Span(resumed.begin_s, turn.end_s)
                taken = bool(starts) and self._takes_over(starts[-1], rest)
                pauses.append(Pause(said.end_s, secs, taken))
        return pauses

    def _takes_over(self, bot: Span, resumed: Span) -> bool:
        if self._lasts(bot, TAKEOVER_S, BOT_BRIDGE_S):
            return True
        return bot.secs >= _CUT_OFF_S and bot.end_s <= resumed.end_s + _OVERLAP_S

    def _bot_starts(self, from_s: float, to_s: float) -> list[Span]:
        low = bisect_left(self._bot, from_s, key=_begin_s)
        return self._bot[low : bisect_left(self._bot, to_s, key=_begin_s)]

    def _is_turn(self, said: Span) -> bool:
        return self._lasts(said, TAKEOVER_S, CALLER_BRIDGE_S)

    def _lasts(self, span: Span, secs: float, bridge_s: float) -> bool:
        """Return whether an utterance lasts at least ``secs``."""
        if span.secs >= secs:
            return True
        if not self._is_final(span, bridge_s):
            raise _Undecided
        return False

    def _is_final(self, span: Span, bridge_s: float) -> bool:
        """Return whether no later speech can extend an utterance."""
        return self._over or self._until_s - span.end_s > bridge_s + 0.2


def _begin_s(span: Span) -> float:
    return span.begin_s


def _end_s(span: Span) -> float:
    return span.end_s
