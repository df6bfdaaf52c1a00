from __future__ import annotations

import math

import pytest

from benchmarks.erlang import (
    erlang_b,
    load_over_day,
    refused_over_day,
    sessions_for,
    sessions_over_day,
)


@pytest.mark.parametrize(("load", "sessions"), [(1, 1), (2, 2), (10, 18), (20, 30), (0.5, 3)])
def test_the_recursion_equals_the_formula(load: float, sessions: int) -> None:
    terms = [load**taken / math.factorial(taken) for taken in range(sessions + 1)]
    assert erlang_b(load, sessions) == pytest.approx(terms[-1] / sum(terms))


def test_values_equal_the_published_tables() -> None:
    """Published tables: 10 trunks carry 4.46 erlangs at 1 %, 100 carry 84.1."""
    assert erlang_b(4.46, 10) == pytest.approx(0.01, rel=0.01)
    assert erlang_b(84.1, 100) == pytest.approx(0.01, rel=0.01)


@pytest.mark.parametrize("load", [0.5, 20, 1_000])
def test_the_minimum_number_of_sessions(load: float) -> None:
    sessions = sessions_for(load, 0.01)
    assert erlang_b(load, sessions) <= 0.01 < erlang_b(load, sessions - 1)


def test_a_day_of_constant_load_is_like_one_hour() -> None:
    assert refused_over_day(20, 0, 25) == pytest.approx(erlang_b(20, 25))
    assert sessions_over_day(20, 0, 0.01) == sessions_for(20, 0.01)


def test_a_daily_peak_needs_more_sessions() -> None:
    assert load_over_day(20, 0.8, 0) == pytest.approx(4)
    assert load_over_day(20, 0.8, 12) == pytest.approx(36)
    assert sessions_over_day(20, 0.8, 0.01) > sessions_over_day(20, 0.4, 0.01) > sessions_for(20, 0.01)
