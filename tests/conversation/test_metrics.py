from __future__ import annotations

from moshi_phone.conversation.metrics import ConversationMetrics
from moshi_phone.conversation.span import Span
from moshi_phone.conversation.turns import Voices, find_events
from tests.conversation.test_criteria import GOOD, SPEAKS_ON


def counted(sides: tuple[list[tuple[float, float]], list[tuple[float, float]]]) -> ConversationMetrics:
    metrics = ConversationMetrics(longest_silence_s=1.5)
    metrics.add(find_events(Voices([Span(*s) for s in sides[0]], [Span(*s) for s in sides[1]], 30)))
    return metrics


def test_events_are_counted() -> None:
    told = counted(GOOD).summary()
    assert (told["turns"], told["interruptions"], told["backchannel_stops"]) == (3, 1, 0)
    assert told["response"]["count"] == 3


def test_the_log_s_summary() -> None:
    assert counted(GOOD).sentence == (
        "answered after 0.20 s (median of 3), stopped after 0.3 s (1 interruption), longest silence 1.5 s"
    )
    assert ConversationMetrics().sentence == ""


def test_metrics_of_calls_add_up() -> None:
    both = counted(GOOD)
    both.include(counted(SPEAKS_ON))
    assert both.interruptions == 2
    assert both.response.count == 4
    assert both.longest_silence_s == 1.5
