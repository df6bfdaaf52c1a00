"""From who spoke when to events, on spans alone."""

from __future__ import annotations

import pytest

from moshi_phone.conversation.conversation import interruptions_of, responses_of, turns_of
from moshi_phone.conversation.events import Backchannel, Event, Pause
from moshi_phone.conversation.span import Span
from moshi_phone.conversation.turns import Voices, find_events


def events(
    caller: list[tuple[float, float]], bot: list[tuple[float, float]], until_s: float = 60
) -> list[Event]:
    return find_events(Voices([Span(*one) for one in caller], [Span(*one) for one in bot], until_s))


def gaps_ms(found: list[Event]) -> list[float]:
    return [round(response.gap_ms) for response in responses_of(found)]


def test_a_response_is_timed_from_the_callers_end() -> None:
    assert gaps_ms(events([(1, 3), (8, 10)], [(3.25, 6), (10.5, 12)])) == [250, 500]


def test_a_response_that_begins_before_the_end_is_negative() -> None:
    assert gaps_ms(events([(1, 3)], [(2.7, 6)])) == [-300]


def test_a_word_during_the_turn_is_not_a_response() -> None:
    found = events([(1, 5)], [(3, 3.4), (5.2, 7)])
    assert gaps_ms(found) == [200]
    assert turns_of(found)[0].bot_backchannels == 1


def test_an_unanswered_turn_has_no_response() -> None:
    found = events([(1, 3), (8, 10)], [(10.5, 12)])
    assert [turn.response is None for turn in turns_of(found)] == [True, False]


def test_a_pause_that_the_bot_waits_through_is_within_one_turn() -> None:
    (turn,) = turns_of(events([(1, 3), (4.2, 6)], [(6.2, 9)]))
    (pause,) = turn.pauses
    assert (pause.at_s, pause.taken) == (3, False)
    assert pause.secs == pytest.approx(1.2)
    assert turn.response
    assert turn.response.at_s == 6


@pytest.mark.parametrize("bot_end_s", [4.6, 9.0])  # it stops when the caller speaks on, or does not
def test_a_bot_that_starts_in_a_pause_takes_the_turn(bot_end_s: float) -> None:
    (turn,) = turns_of(events([(1, 3), (4.2, 6)], [(3.3, bot_end_s)]))
    assert [pause.taken for pause in turn.pauses] == [True]
    assert turn.interruption is None


def test_a_backchannel_of_the_bot_does_not_take_the_turn() -> None:
    (turn,) = turns_of(events([(1, 3), (4.0, 6)], [(3.6, 4.0), (6.3, 8)]))
    assert [pause.taken for pause in turn.pauses] == [False]
    assert turn.response


def test_a_short_answer_counts_when_the_caller_continues_after_it() -> None:
    assert gaps_ms(events([(1, 3), (4.4, 6)], [(3.3, 3.8), (6.2, 8)])) == [300, 200]


@pytest.mark.parametrize(("bot_end_s", "yielded"), [(6.32, True), (12.0, False)])
def test_an_interruption_is_timed_to_the_bots_end(bot_end_s: float, yielded: bool) -> None:
    found = events([(1, 3), (6, 9)], [(3.2, bot_end_s), (14, 16)])
    (interruption,) = interruptions_of(found)
    assert interruption.stop_ms == pytest.approx(1000 * (bot_end_s - 6))
    assert interruption.yielded is yielded


def test_after_an_interruption_the_next_start_is_the_response() -> None:
    assert gaps_ms(events([(1, 3), (6, 9)], [(3.2, 6.3), (9.4, 12)])) == [200, 400]


def test_a_bot_cut_off_by_the_end_of_the_call_did_not_stop() -> None:
    (interruption,) = interruptions_of(events([(1, 3), (6, 9)], [(3.2, 10)], until_s=10))
    assert interruption.stop_ms is None
    assert not interruption.yielded


@pytest.mark.parametrize(("bot_end_s", "stopped"), [(6.4, True), (12.0, False)])
def test_a_backchannel_of_the_caller_is_not_a_turn(bot_end_s: float, stopped: bool) -> None:
    found = events([(1, 3), (6, 6.4)], [(3.2, bot_end_s)])
    assert found[1:] == [Backchannel(6, 6.4, stopped)]


def test_a_bot_that_starts_while_the_caller_speaks_interrupts() -> None:
    (turn,) = turns_of(events([(1, 9)], [(3, 6), (9.2, 12)]))
    assert turn.bot_interruptions == 1
    assert turn.response


def test_a_bridged_silence_is_within_an_utterance() -> None:
    (turn,) = turns_of(events([(1, 3), (3.5, 6)], [(6.2, 8)]))
    assert turn.pauses == (Pause(3, 0.5, taken=False),)


CALLER = [(1, 3), (4.2, 6), (12, 12.4), (15, 18), (25, 27), (27.5, 28), (40, 41.5)]
BOT = [(0.2, 0.9), (6.2, 9), (9.4, 15.3), (18.2, 22), (26, 26.3), (28.1, 35), (41.6, 45)]


def test_early_events_equal_the_final_ones() -> None:
    """Evaluated every 80 ms with what was known by then; nothing that was reported is withdrawn."""
    whole = events(CALLER, BOT)
    found: list[Event] = []
    for step in range(60_000 // 80):
        now_s = 0.08 * (step + 1)
        caller, bot = ([Span(a, min(b, now_s)) for a, b in side if a < now_s] for side in (CALLER, BOT))
        after_s = found[-1].end_s if found else -1.0
        found += find_events(Voices(caller, bot, now_s, over=False), after_s)
        assert whole[: len(found)] == found
    assert found == whole
