"""Each criterion of the report: it holds, fails, or is not judged."""

from __future__ import annotations

from typing import Any

import pytest

from moshi_phone.conversation.conversation import summary
from moshi_phone.conversation.criteria import LineFacts, judge
from moshi_phone.conversation.span import Span
from moshi_phone.conversation.turns import Voices, find_events

Sides = tuple[list[tuple[float, float]], list[tuple[float, float]]]

GOOD: Sides = (
    [(2, 4), (5, 7), (12, 14), (17, 20), (25, 25.4)],
    [(0.5, 1.5), (7.25, 11), (14.2, 17.3), (20.2, 29)],
)
SLOW: Sides = ([(2, 4), (10, 12)], [(5.2, 8), (13.3, 15)])
TAKES: Sides = ([(2, 4), (5, 7)], [(4.3, 6.2), (7.3, 9)])
SPEAKS_ON: Sides = ([(2, 4), (7, 10)], [(4.2, 15)])
STOPS_EASILY: Sides = ([(2, 4), (7, 7.4)], [(4.2, 7.5)])
SILENT: Sides = ([(2, 4)], [(4.2, 6)])
NOBODY: Sides = ([], [])
BARGES_IN: Sides = ([(2, 12)], [(4, 7), (12.2, 14)])


UNCLIPPED = LineFacts(clipped_share=0.0)


def talked(sides: Sides, secs: float = 30) -> dict[str, Any]:
    voices = Voices([Span(*one) for one in sides[0]], [Span(*one) for one in sides[1]], secs)
    return summary(voices, find_events(voices))


def verdicts(sides: Sides, line: LineFacts = UNCLIPPED, secs: float = 30) -> dict[str, bool | None]:
    return {point.key: point.passed for point in judge(talked(sides, secs), line)}


def test_a_good_call_meets_every_criterion_that_can_be_judged() -> None:
    found = verdicts(GOOD)
    assert found.pop("no_echo") is None
    assert set(found.values()) == {True}


@pytest.mark.parametrize(
    ("sides", "fails"),
    [
        (SLOW, {"in_time", "no_detector", "no_silence"}),
        (TAKES, {"natural", "no_silence"}),
        (SPEAKS_ON, {"interruptible", "interactive", "no_silence"}),
        (STOPS_EASILY, {"backchannels", "no_silence"}),
        (SILENT, {"no_silence"}),
        (NOBODY, {"no_silence"}),
        (BARGES_IN, {"natural", "no_silence"}),
    ],
)
def test_each_fault_fails_its_own_criterion(sides: Sides, fails: set[str]) -> None:
    assert {key for key, passed in verdicts(sides).items() if passed is False} == fails


def test_events_that_did_not_occur_are_not_judged() -> None:
    found = verdicts(NOBODY, LineFacts())
    assert {key for key, passed in found.items() if passed is None} == set(found) - {"no_silence"}


@pytest.mark.parametrize(
    ("line", "key", "passed"),
    [
        (LineFacts(clipped_share=0.01), "quality", False),
        (LineFacts(stoi=0.8), "quality", False),
        (LineFacts(stoi=0.99, clipped_share=0.0, underrun_share=0.02), "quality", False),
        (LineFacts(stoi=0.99, clipped_share=0.0, underrun_share=0.0), "quality", True),
        (LineFacts(echo_db=15.0), "no_echo", False),
        (LineFacts(echo_db=45.0), "no_echo", True),
        (LineFacts(echo_db=32.0), "no_echo", True),
    ],
)
def test_known_measurements_of_the_line_are_judged(line: LineFacts, key: str, passed: bool) -> None:
    assert verdicts(GOOD, line)[key] is passed
