"""The simulation against known results: Erlang's formula, and expected values."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest

from benchmarks.cluster_conditions import Conditions, Outcome
from benchmarks.cluster_sim import Share
from benchmarks.erlang import erlang_b
from benchmarks.simulated_cluster import autoscaled, fixed, simulate

DAYS = 2.0
LOAD = 10.0
Lengths = Literal["exponential", "lognormal", "fixed"]


def mean_of_five(conditions: Conditions, workers: int) -> Share:
    outcomes = [simulate(replace(conditions, seed=seed), fixed(workers)) for seed in range(1, 6)]
    return Share.of([one.refused_share for one in outcomes])


@pytest.mark.parametrize(
    ("sessions", "capacity_each", "lengths"),
    [
        (8, 1, "exponential"),
        (12, 4, "exponential"),
        (12, 4, "lognormal"),
        (12, 4, "fixed"),
        (15, 1, "fixed"),
    ],
)
def test_without_failures_it_agrees_with_erlang(sessions: int, capacity_each: int, lengths: Lengths) -> None:
    conditions = Conditions(DAYS, LOAD, lengths=lengths, capacity_each=capacity_each)
    share = mean_of_five(conditions, sessions // capacity_each)
    # Within its own confidence: the interval of 99.8 %, as there are several of these.
    assert abs(share.mean - erlang_b(LOAD, sessions)) < share.error * 7.17 / 2.78
    assert share.error < 0.25 * share.mean + 0.002


def test_the_same_seed_gives_the_same() -> None:
    conditions = Conditions(0.5, LOAD, life_hours=5, update_hours=3, swing=0.5)
    assert autoscaled(conditions, 2) == autoscaled(conditions, 2)
    assert autoscaled(conditions, 2) != autoscaled(replace(conditions, seed=2), 2)


@pytest.mark.slow
def test_spare_sessions_mean_fewer_refusals_and_more_sessions() -> None:
    outcomes = [autoscaled(Conditions(DAYS, LOAD, swing=0.8), spare) for spare in (1, 2, 4, 8)]
    refused = [one.refused_share for one in outcomes]
    paid = [one.mean_sessions for one in outcomes]
    assert refused == sorted(refused, reverse=True)
    assert paid == sorted(paid)
    assert refused[0] > 10 * refused[-1]


def test_without_spare_sessions_the_cluster_never_grows() -> None:
    """This is why ``--spare-calls`` starts at 1: full workers request no more than there are."""
    assert autoscaled(Conditions(DAYS, LOAD, swing=0.8), 0).refused_share > 0.8


def test_workers_that_start_sooner_refuse_fewer() -> None:
    slow, quick = (autoscaled(Conditions(DAYS, LOAD, swing=0.8, start_s=secs), 3) for secs in (300, 15))
    assert quick.refused_share < 0.5 * slow.refused_share


def test_the_number_of_calls_cut_by_failing_workers_is_the_expected_one() -> None:
    """A call of 1/n hours is cut with a probability of about 1/n if a worker lives for an hour."""
    conditions = Conditions(DAYS, LOAD, call_s=180, life_hours=2, start_s=1)
    outcome = simulate(conditions, fixed(30))
    expected = 180 / (2 * 3600 + 180)  # of two exponential times, that the one is the shorter
    assert outcome.cut_share == pytest.approx(expected, rel=0.15)
    assert outcome.hung_up == 0


class TestUpdates:
    conditions = Conditions(DAYS, LOAD, update_hours=4, drain_s=4 * 3600.0, capacity_each=2)

    def held(self, **changes: float) -> tuple[Outcome, Outcome]:
        """Simulate the same callers without updates and with them."""
        with_them = replace(self.conditions, **changes)  # type: ignore[arg-type]
        without = replace(with_them, update_hours=10_000)
        return simulate(without, fixed(7)), simulate(with_them, fixed(7))

    def test_an_update_with_room_for_all_cuts_and_refuses_nobody(self) -> None:
        without, with_them = self.held()
        assert (with_them.failed, with_them.hung_up) == (0, 0)
        assert with_them.offered == without.offered
        assert with_them.refused_share <= without.refused_share + 0.002
        assert with_them.mean_sessions > without.mean_sessions  # both generations exist for a while

    def test_an_update_with_room_for_one_more_cuts_nobody(self) -> None:
        without, with_them = self.held(backends=8)
        assert with_them.cut_share == 0
        assert without.refused_share < with_them.refused_share < without.refused_share + 0.03
        assert with_them.mean_sessions <= 16

    def test_a_drain_that_is_too_short_cuts_the_long_calls(self) -> None:
        _, with_them = self.held(drain_s=60.0)
        updates = DAYS * 24 / 4
        # Ten calls run at each, of which e^(-60/180) last longer than a minute more.
        assert with_them.hung_up == pytest.approx(updates * 10 * 0.72, rel=0.35)
