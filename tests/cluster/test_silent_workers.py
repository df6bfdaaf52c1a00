"""cluster/silent_workers.py: which calls are lost when a worker stops answering."""

from __future__ import annotations

from moshi_phone.cluster.silent_workers import ASKED_SECS, SilentWorkers


def test_calls_are_lost_after_two_misses_and_two_seconds() -> None:
    workers = SilentWorkers()
    workers.note("w1", {"CA1": 0, "CA2": 2}, 0.0)
    workers.note("w2", {"CA3": 0}, 0.0)
    workers.note_silence("w1")
    assert workers.in_doubt
    assert workers.take_lost(60.0) == {}, "one miss may be our own stall"
    workers.note_silence("w1")
    assert not workers.in_doubt
    assert workers.take_lost(1.9) == {}, "a busy machine may be silent for this long"
    assert workers.take_lost(2.0) == {"CA1": 0, "CA2": 2}
    assert workers.has_vanished("w1", 2.0)
    assert workers.take_lost(3.0) == {}, "only once"


def test_a_worker_that_answers_again_has_lost_nothing() -> None:
    workers = SilentWorkers()
    workers.note("w1", {"CA1": 0}, 0.0)
    for _ in range(2):
        workers.note_silence("w1")
    workers.note("w1", {"CA1": 0}, 3.0)
    workers.note_silence("w1")
    assert workers.take_lost(9.0) == {}
    workers.note_silence("w3")  # it has never answered
    workers.keep_only({"w2"})
    assert not workers.in_doubt


def test_calls_held_by_another_worker_are_not_lost() -> None:
    workers = SilentWorkers()
    workers.note("w1", {"CA1": 0, "CA2": 0}, 0.0)
    for _ in range(2):
        workers.note_silence("w1")
    workers.note("w2", {"CA1": 1}, 2.5)
    assert workers.take_lost(3.0) == {"CA2": 0}


def test_recent_requests_of_twilio_are_remembered() -> None:
    workers = SilentWorkers()
    workers.note_asked("CA1", 0.0)
    assert workers.asked(["CA1", "CA2"]) == ["CA1"]
    workers.note_asked("CA2", ASKED_SECS)
    assert workers.asked(["CA1", "CA2"]) == ["CA2"]
