"""Each bad server fails exactly its own criterion of a rehearsal."""

from __future__ import annotations

from dataclasses import replace

import pytest

from moshi_phone.rehearse.checks import CallContext, check, held
from moshi_phone.rehearse.measure import Measurements, measure
from moshi_phone.rehearse.record import CallRecord, StatusSample
from tests.rehearse import simulated

GOOD = CallContext(
    ready=True, ready_s=1.5, prompts_before_stream=[], free=True, session_free_detail="0 calls running"
)


@pytest.fixture(scope="module")
def good_call() -> Measurements:
    return measure(simulated.call(simulated.mirror), repeats_after_ms=0)


def failed(
    record: CallRecord,
    around: CallContext = GOOD,
    *,
    found: Measurements | None = None,
    repeats_after_ms: float | None = 0.0,
) -> list[str]:
    points = check(around, record, found or measure(record, repeats_after_ms=repeats_after_ms))
    assert held(points) == (not any(point.passed is False for point in points))
    return [point.key for point in points if point.passed is False]


def judged(record: CallRecord, repeats_after_ms: float | None = 0.0) -> dict[str, bool | None]:
    points = check(GOOD, record, measure(record, repeats_after_ms=repeats_after_ms))
    return {point.key: point.passed for point in points}


def test_a_good_server_passes_every_criterion() -> None:
    assert set(judged(simulated.call(simulated.mirror)).values()) == {True}


def test_a_parrot_passes_every_criterion_without_its_own_delay() -> None:
    assert set(judged(simulated.call(simulated.parrot), repeats_after_ms=960).values()) == {True}
    assert set(judged(simulated.call(simulated.parrot), repeats_after_ms=None).values()) == {True}


@pytest.mark.parametrize(
    ("server", "point"),
    [
        (simulated.slow, "delay"),
        (simulated.drops_every_tenth, "gaps"),
        (simulated.waits_for_its_turn, "duplex"),
        (simulated.drifts, "drift"),
        (simulated.noisy, "quality"),
    ],
)
def test_a_bad_server_fails_exactly_its_criterion(server: simulated.Server, point: str) -> None:
    assert failed(simulated.call(server)) == [point]


def test_a_stream_that_is_silent_under_the_caller_is_not_full_duplex() -> None:
    record = simulated.call(simulated.speaks_when_the_caller_is_silent)
    assert failed(record, repeats_after_ms=960) == ["duplex"]


def test_a_say_verb_before_the_stream_fails_the_own_voice(good_call: Measurements) -> None:
    around = replace(GOOD, prompts_before_stream=["Say"])
    assert failed(simulated.call(simulated.mirror), around, found=good_call) == ["own_voice"]


def test_a_leaked_session_fails_its_criterion(good_call: Measurements) -> None:
    around = replace(GOOD, free=False, session_free_detail="1 call still running 3 s after its end")
    assert failed(simulated.call(simulated.mirror), around, found=good_call) == ["session_free"]


def test_a_stall_is_a_gap_followed_by_delay() -> None:
    assert failed(simulated.call(simulated.stalls_once)) == ["delay", "drift", "gaps", "keeps_up"]


def test_a_slow_machine_fails_only_the_criteria_that_depend_on_speed() -> None:
    record = simulated.call(simulated.half_as_fast)
    points = check(GOOD, record, measure(record))
    bad = [point for point in points if point.passed is False]
    assert [point.key for point in bad] == ["delay", "drift", "gaps"]
    assert all(point.by_speed for point in bad)


def test_reported_dropped_frames_fail_keeping_up(good_call: Measurements) -> None:
    record = simulated.call(simulated.mirror)
    record.status_samples = [StatusSample(simulated.BEGAN_S + 5, 7, 40.0, 2, 0.0)]
    assert failed(record, found=good_call) == ["keeps_up"]


@pytest.mark.parametrize(
    ("change", "point"),
    [
        ({"broken": "the server closed the socket after 3.0 s (1011)"}, "clean_end"),
        ({"closed_after_s": None}, "clean_end"),
        ({"closed_after_s": 3.0}, "clean_end"),
        ({"close_code": 1011}, "clean_end"),
        ({"violations": ["binary"], "violation_count": 1}, "protocol"),
    ],
)
def test_faults_of_the_end_and_the_protocol_fail_their_criteria(
    good_call: Measurements, change: dict[str, object], point: str
) -> None:
    record = simulated.call(simulated.mirror)
    for name, value in change.items():
        setattr(record, name, value)
    assert failed(record, found=good_call) == [point]


def test_a_refused_stream_has_a_reason() -> None:
    record = simulated.call(lambda _: [])
    record.refused = "1013 All 1 sessions are taken."
    points = {point.key: point for point in check(CallContext(), record, measure(record))}
    assert points["accepted"].figure == "1013 All 1 sessions are taken."
    assert points["accepted"].passed is False
    # Advice on them would mislead: there was no stream.
    assert {key for key, point in points.items() if point.passed is False} == {"accepted"}
    assert points["duplex"].figure == "not judged: the stream was not accepted"
    assert points["delay"].passed is None
    assert points["clean_end"].passed is None  # of nothing: it "left the socket open"
    assert points["own_voice"].figure == "not judged: there was no stream"
