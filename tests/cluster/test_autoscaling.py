"""cluster/autoscaling.py: the number of workers, with an injected clock."""

from __future__ import annotations

from moshi_phone.cluster.autoscaling import Autoscaler


def test_the_spare_sessions_are_kept_free() -> None:
    scaler = Autoscaler(spare_calls=2, min_workers=1, max_workers=10)
    assert scaler.wanted(0, 4, 0.0) == 1
    assert scaler.wanted(2, 4, 1.0) == 1
    assert scaler.wanted(3, 4, 2.0) == 2
    assert scaler.wanted(22, 4, 3.0) == 6


def test_the_number_stays_within_its_bounds() -> None:
    scaler = Autoscaler(spare_calls=0, min_workers=2, max_workers=3)
    assert scaler.wanted(0, 1, 0.0) == 2
    assert scaler.wanted(50, 1, 1.0) == 3
    scaler.set_min_workers(9)
    assert scaler.min_workers == 3


def test_it_scales_up_at_once_and_down_after_a_calm_period() -> None:
    scaler = Autoscaler(spare_calls=1, min_workers=1, max_workers=10, calm_secs=60)
    assert scaler.wanted(4, 1, 0.0) == 5
    assert scaler.wanted(0, 1, 10.0) == 5
    assert scaler.wanted(2, 1, 30.0) == 5
    assert scaler.wanted(0, 1, 61.0) == 3, "what was needed at 30 s still counts"
    assert scaler.wanted(0, 1, 91.0) == 1


def test_without_a_known_capacity_the_minimum_is_requested() -> None:
    scaler = Autoscaler(spare_calls=5, min_workers=2, max_workers=10)
    assert scaler.wanted(0, 0, 0.0) == 2
