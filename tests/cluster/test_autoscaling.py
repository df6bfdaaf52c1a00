"""cluster/autoscaling.py: how many workers, on a clock of the test's."""

from __future__ import annotations

from moshi_phone.cluster.autoscaling import Autoscaler


def test_so_many_sessions_are_kept_free() -> None:
    scaler = Autoscaler(spare_calls=2, min_workers=1, max_workers=10)
    assert scaler.wanted(0, 4, 0.0) == 1
    assert scaler.wanted(2, 4, 1.0) == 1
    assert scaler.wanted(3, 4, 2.0) == 2
    assert scaler.wanted(22, 4, 3.0) == 6


def test_never_fewer_than_the_least_nor_more_than_the_most() -> None:
    scaler = Autoscaler(spare_calls=0, min_workers=2, max_workers=3)
    assert scaler.wanted(0, 1, 0.0) == 2
    assert scaler.wanted(50, 1, 1.0) == 3
    scaler.set_min_workers(9)
    assert scaler.min_workers == 3


def test_up_at_once_and_down_when_it_has_been_calm() -> None:
    scaler = Autoscaler(spare_calls=1, min_workers=1, max_workers=10, calm_secs=60)
    assert scaler.wanted(4, 1, 0.0) == 5
    assert scaler.wanted(0, 1, 10.0) == 5
    assert scaler.wanted(2, 1, 30.0) == 5
    assert scaler.wanted(0, 1, 61.0) == 3, "what was needed at 30 s still counts"
    assert scaler.wanted(0, 1, 91.0) == 1


def test_while_no_worker_has_told_its_capacity_the_least_is_wanted() -> None:
    scaler = Autoscaler(spare_calls=5, min_workers=2, max_workers=10)
    assert scaler.wanted(0, 0, 0.0) == 2
