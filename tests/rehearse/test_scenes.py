"""Engines that converse well, and engines that do not: measurements near the truth, and correct verdicts."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import pytest

from moshi_phone.conversation.metrics import ConversationMetrics
from moshi_phone.rehearse.scenes import judge_scenes
from tests.rehearse.conversing import Conversed, converse
from tests.support.scripted_engine import Behaviour, ScriptedEngine

pytestmark = pytest.mark.cpu_bound  # half an hour of simulated time

WITHIN_MS = 80.0

FAILS: list[tuple[Behaviour, set[str]]] = [
    (Behaviour(), set()),
    (Behaviour(answer_ms=900, greets=False), {"question", "greeting"}),
    (Behaviour(stop_ms=1500, answers_asides=True), {"interruption", "aside"}),
    (Behaviour(stop_ms=None), {"interruption"}),
    (Behaviour(answer_ms=400, takes_pauses=True), {"pause"}),
    (Behaviour(stops_for_backchannels=True), {"backchannel"}),
    (Behaviour(answers=False), {"question"}),
]


@cache  # ten seconds of processor time each
def conversed(how: Behaviour, voice: str = "slt") -> Conversed:
    return converse(ScriptedEngine(behaviour=how), voice)


@pytest.mark.parametrize(("how", "fails"), FAILS)
def test_each_scene_is_judged_correctly(how: Behaviour, fails: set[str]) -> None:
    call = conversed(how)
    found = {point.key: point for point in judge_scenes(call.reviewed, call.scenes)}
    failed = {key for key, point in found.items() if point.passed is False}
    assert failed == fails, {key: point.figure for key, point in found.items()}
    talked = call.reviewed.talked
    gaps_ms = [response["gap_ms"] for response in talked["responses"]]
    stops_ms = [one["stop_ms"] for one in talked["interruptions"]]
    if how.answers:
        assert len(gaps_ms) >= 7
        assert gaps_ms == pytest.approx([how.answer_ms] * len(gaps_ms), abs=WITHIN_MS)
    else:
        assert gaps_ms == []
        assert found["interruption"].passed is found["backchannel"].passed is None
    if how.answers and how.stop_ms is not None and not how.takes_pauses:
        expected_ms = 320.0 if how.stops_for_backchannels else how.stop_ms
        assert stops_ms == pytest.approx([expected_ms] * 2, abs=WITHIN_MS)
    assert talked["takeovers_in_pauses"] == (1 if how.takes_pauses else 0)
    assert talked["backchannel_stops"] == (2 if how.stops_for_backchannels else 0)
    assert talked["first_speaker"] == ("bot" if how.greets else "caller")
    assert talked["longest_silence_s"] >= 19.5


@pytest.mark.parametrize("voice", ["espeak", "rms"])
def test_other_voices_give_the_same_results(voice: str) -> None:
    call = conversed(Behaviour(), voice)
    assert [p.key for p in judge_scenes(call.reviewed, call.scenes) if p.passed is not True] == []


def test_the_server_s_live_measurements_agree() -> None:
    call = conversed(Behaviour())
    afterwards = ConversationMetrics()
    afterwards.add(call.reviewed.events)
    live = call.state.calls.past.conversation
    assert live.summary().keys() == afterwards.summary().keys()
    for name in ("turns", "unanswered_turns", "interruptions", "takeovers_in_pauses", "backchannel_stops"):
        assert live.summary()[name] == afterwards.summary()[name], name
    for name in ("response", "stop"):
        one, other = live.summary()[name], afterwards.summary()[name]
        assert one["count"] == other["count"]
        assert one["p50"] == pytest.approx(other["p50"], abs=WITHIN_MS)


def test_scenes_follow_each_other_without_a_gap() -> None:
    call = conversed(Behaviour())
    keys = [scene.key for scene in call.scenes]
    twice = ["interruption"] * 2 + ["backchannel"] * 2
    assert keys == ["greeting", "question", "pause", "story", *twice, "aside", "silence", "question"]
    for before, after in pairwise(call.scenes):
        assert after.begin_s == pytest.approx(before.end_s)
