from __future__ import annotations

import numpy as np
import pytest

from moshi_phone.audio.mark_acks import MarkAckWindow, RoundTrip


def test_no_estimate_before_ten_acknowledgements() -> None:
    window = MarkAckWindow()
    assert [window.add(1.0) for _ in range(9)] == [None] * 9
    assert window.add(1.0) == 1.0


def test_the_earliest_of_ten_gives_the_delay_and_the_spread_gives_the_jitter() -> None:
    random = np.random.default_rng(1)
    window = MarkAckWindow()
    earliest = [window.add(1.0 + late_s) for late_s in random.uniform(0, 0.03, 1_000)]
    known = [began_s for began_s in earliest if began_s is not None]
    assert np.median(known) == pytest.approx(1.003, abs=0.002)
    assert window.jitter_s == pytest.approx(0.027, abs=0.004)


def test_a_gap_is_found_after_ten_acknowledgements_and_is_not_jitter() -> None:
    window = MarkAckWindow()
    for _ in range(50):
        window.add(1.0)
    assert [window.add(1.3) for _ in range(10)] == [1.0] * 9 + [1.3]
    assert window.jitter_s == 0


def test_earlier_acknowledgements_take_effect_at_once() -> None:
    window = MarkAckWindow()
    for _ in range(50):
        window.add(1.3)
    assert window.add(1.0) == 1.0


def test_a_stall_of_the_return_path_is_not_jitter() -> None:
    window = MarkAckWindow()
    for second in range(60):
        window.add(1.0 + (3.0 - second + 30 if 30 <= second < 33 else 0.0))
    assert window.jitter_s == 0


def minute(round_trip: RoundTrip, late_s: float, hidden_s: float, trimmed_s: float) -> None:
    for _ in range(60):
        round_trip.trimmed(trimmed_s / 60)
        round_trip.add(late_s, hidden_s, 0.0)


def test_the_minimum_delay_is_the_round_trip_time() -> None:
    round_trip = RoundTrip()
    for late_s in (0.07, 0.06, 0.09):
        round_trip.add(late_s, 0.0, 0.0)
    assert round_trip.least_s == 0.06


def test_delay_that_trimming_does_not_remove_is_a_longer_path() -> None:
    round_trip = RoundTrip()
    minute(round_trip, 0.06, hidden_s=0.0, trimmed_s=0.0)
    minute(round_trip, 0.16, hidden_s=0.1, trimmed_s=0.5)
    assert round_trip.least_s == 0.16


@pytest.mark.parametrize(("late_s", "trimmed_s"), [(0.36, 0.0), (0.2, 0.3), (0.065, 2.0)])
def test_delay_that_was_not_or_could_be_trimmed_is_not_a_longer_path(late_s: float, trimmed_s: float) -> None:
    """Speech without a pause; half of it trimmed; many stalls, each of them trimmed."""
    round_trip = RoundTrip()
    minute(round_trip, 0.06, hidden_s=0.0, trimmed_s=0.0)
    minute(round_trip, late_s, hidden_s=0.3, trimmed_s=trimmed_s)
    assert round_trip.least_s == 0.06
