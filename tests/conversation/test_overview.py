"""A summary of many calls; a comparison of two folders."""

from __future__ import annotations

from typing import Any

import pytest

from moshi_phone.conversation.overview import against, distributions, over_all
from tests.conversation.test_criteria import GOOD, NOBODY, SLOW, talked


def calls(gap_ms: float, count: int = 6) -> list[dict[str, Any]]:
    """Return calls of two turns each, with slightly different response times."""
    return [
        talked(([(2, 4), (10, 12)], [(4 + (gap_ms + number) / 1000, 7), (12 + gap_ms / 1000, 15)]))
        for number in range(count)
    ]


def test_a_figure_over_all_calls_has_a_confidence_interval() -> None:
    found = over_all([*calls(200), *calls(400)])["response_ms"]
    assert found
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high
    assert (found.calls, found.count) == (12, 24)


def test_one_call_has_no_interval_and_no_call_has_no_figure() -> None:
    alone = over_all([talked(GOOD)])
    assert alone["response_ms"]
    assert alone["response_ms"].low is None
    assert over_all([talked(NOBODY)])["response_ms"] is None


def test_a_difference_is_significant_if_its_interval_excludes_zero() -> None:
    found = against(calls(200), calls(600))["response_ms"]
    assert found
    assert found.change == pytest.approx(400, abs=5)
    assert found.certain
    same = against(calls(200), calls(200))["response_ms"]
    assert same
    assert not same.certain
    assert against(calls(200), [talked(SLOW)])["response_ms"] is None


def test_distributions_contain_the_measured_times() -> None:
    assert set(distributions([talked(GOOD)])) == {"response_ms", "stop_ms", "longest_silence_s"}
