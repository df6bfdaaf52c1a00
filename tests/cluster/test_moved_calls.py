"""cluster/moved_calls.py: a worker that returns learns once which calls it has lost."""

from __future__ import annotations

from moshi_phone.cluster.moved_calls import MAX_CALLS, MovedCalls


def test_a_returning_worker_has_lost_the_calls_that_moved() -> None:
    moved = MovedCalls()
    moved.note("CA1", ["w1", "w3"])
    moved.note("CA2", ["w3"])
    assert moved.take("w2", ["CA1", "CA2"]) == [], "where they are now"
    assert moved.take("w1", ["CA0", "CA1", "CA2"]) == ["CA1"]
    assert moved.take("w1", ["CA1"]) == []
    assert moved.take("w3", ["CA1", "CA2"]) == ["CA1", "CA2"]


def test_a_call_may_move_back_to_its_first_worker() -> None:
    moved = MovedCalls()
    moved.note("CA1", ["w1"])
    moved.note("CA1", [])
    assert moved.take("w1", ["CA1"]) == []


def test_it_is_bounded() -> None:
    moved = MovedCalls()
    for number in range(MAX_CALLS + 1):
        moved.note(f"CA{number}", ["w1"])
    assert moved.take("w1", ["CA0", "CA1"]) == ["CA1"]
