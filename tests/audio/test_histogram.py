from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moshi_phone.audio.histogram import Histogram


@given(st.lists(st.floats(0, 2_000), min_size=1, max_size=200), st.floats(0.01, 1))
def test_quantiles_are_exact_to_the_width_of_a_bin(values: list[float], share: float) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    exact = float(np.quantile(values, share, method="inverted_cdf"))
    assert exact - 1e-9 <= histogram.quantile_ms(share) + 1e-9
    assert histogram.quantile_ms(share) <= exact + (0.5 if exact < 499 else 10)
    assert histogram.count == len(values)
    assert histogram.total_ms == pytest.approx(sum(values))
    assert histogram.max_ms == max(values)


def test_empty_and_out_of_range_values() -> None:
    histogram = Histogram()
    assert histogram.summary() == {"count": 0, "total": 0, "p50": 0, "p95": 0, "max": 0}
    histogram.add(-3)
    histogram.add(60_000)
    assert histogram.quantile_ms(0.1) == 0
    assert histogram.max_ms == 60_000


def test_histograms_add_up_and_buckets_are_exact_at_their_bounds() -> None:
    one, other = Histogram(), Histogram()
    for ms in (0, 5, 5.01, 80, 300, 600):
        one.add(ms)
    for ms in (80.2, 4_000):
        other.add(ms)
    one.include(other)
    assert one.count == 8
    assert one.max_ms == 4_000
    assert [one.cumulative_count(ms) for ms in (5, 80, 300, 600, 2_000)] == [2, 4, 6, 7, 7]
    assert one.quantile_ms(1) == 4_000
