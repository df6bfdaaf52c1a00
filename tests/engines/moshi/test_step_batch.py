"""Waiting calls share one step, unless measurements show that this is slower; results go to their calls."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from moshi_phone.engines.moshi.step_batch import FORGOTTEN_AFTER, BatchPart, StepBatch, StepTimes


def times(**steps_ms: float) -> StepTimes:
    found = StepTimes(8)
    for name, step_ms in steps_ms.items():
        for _ in range(5):
            found.add(int(name.removeprefix("rows_")), step_ms)
    return found


def test_without_measurements_all_waiting_calls_are_batched() -> None:
    assert StepTimes(8).rows_for(5) == 5
    assert times(rows_1=10.0).rows_for(5) == 5
    assert StepTimes(8).rows_for(1) == 1


def test_all_are_batched_even_if_all_will_be_late() -> None:
    assert times(rows_1=50.0, rows_4=190.0).rows_for(4) == 4


def test_a_batch_is_smaller_if_a_larger_one_is_slower_than_single_steps() -> None:
    slow = times(rows_1=10.0, rows_2=18.0, rows_3=60.0, rows_4=80.0)
    assert slow.rows_for(4) == 2
    assert slow.rows_for(3) == 2
    for _ in range(FORGOTTEN_AFTER):
        slow.rows_for(4)
    assert slow.rows_for(4) == 4, "it may have been another program's fault, so it is tried again"


def test_one_slow_step_changes_nothing() -> None:
    hiccup = times(rows_1=10.0, rows_4=20.0)
    hiccup.add(4, 2000.0)
    assert hiccup.rows_for(4) == 4
    assert hiccup.expected_ms(4) == 20.0
    assert hiccup.expected_ms(6) == 20.0
    assert hiccup.histograms[4].count == 6
    assert StepTimes(8).expected_ms(1) is None


def test_a_batch_fits_into_the_available_time() -> None:
    batch = StepBatch[int, int](list, 8)
    for rows, step_ms in ((1, 10.0), (2, 12.0), (4, 30.0)):
        batch.times.add(rows, step_ms)
    assert batch.rows_for(20, room_s=1.0) == 8
    assert batch.rows_for(4, room_s=0.020) == 3
    assert batch.rows_for(4, room_s=0.001) == 1


def test_results_and_failures_go_to_their_calls() -> None:
    done, failed = list[tuple[str, int]](), list[tuple[str, str]]()

    def step(parts: Sequence[int]) -> list[int | Exception]:
        return [ValueError("odd") if part % 2 else part * 10 for part in parts]

    def note(name: str, result: int, step_ms: float) -> None:
        assert step_ms >= 0
        if result == 40:
            raise LookupError("no use for it")
        done.append((name, result))

    def fail(name: str, reason: BaseException) -> None:
        failed.append((name, str(reason)))

    batch = StepBatch(step, 4)
    parts = [
        BatchPart(number, partial(note, name), partial(fail, name)) for number, name in enumerate("abcd", 2)
    ]
    batch.run(parts)
    assert done == [("a", 20)]
    assert failed == [("b", "odd"), ("c", "no use for it"), ("d", "odd")]
    assert batch.times.histograms[4].count == 1
    batch.run([])
    assert sum(one.count for one in batch.times.histograms.values()) == 1
