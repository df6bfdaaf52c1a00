from __future__ import annotations

import numpy as np
import pytest

from moshi_phone.rehearse.delay_axis import FINE_SHARE, DelayAxis

LIMIT_MS = 300.0


def test_a_good_call_s_shape_and_the_limit_are_both_seen() -> None:
    delay_ms = np.random.default_rng(1).normal(10, 1, 250)
    axis = DelayAxis.of(delay_ms, LIMIT_MS)
    backends = axis.forward(delay_ms)
    assert np.ptp(backends) > 0.2  # against 0.015 on an axis of one scale up to the limit
    assert backends.max() < FINE_SHARE < axis.forward(LIMIT_MS) < 1
    assert axis.ticks_ms(LIMIT_MS)[-1] == LIMIT_MS


def test_one_scale_serves_where_the_delays_are_near_the_limit_or_beyond() -> None:
    axis = DelayAxis.of([200.0, 430.0, np.nan], LIMIT_MS)
    assert axis.break_ms is None
    assert axis.forward(axis.top_ms) == 1
    assert axis.forward([430.0, LIMIT_MS])[0] < 1


def test_one_bad_frame_does_not_flatten_the_others_and_is_seen() -> None:
    delay_ms = [10.0] * 250 + [5000.0]
    axis = DelayAxis.of(delay_ms, LIMIT_MS)
    assert axis.forward(10) > 0.3
    assert axis.forward(5000) < 1
    assert axis.ticks_ms(LIMIT_MS)[-2:] == [300, 5000]


def test_without_any_delay_there_is_the_limit() -> None:
    axis = DelayAxis.of([np.nan], LIMIT_MS)
    assert 0 < axis.forward(LIMIT_MS) < 1


@pytest.mark.parametrize("delay_ms", [[10.0], [400.0], []])
def test_places_and_delays_are_each_other_s_inverse(delay_ms: list[float]) -> None:
    axis = DelayAxis.of(delay_ms, LIMIT_MS)
    given = np.linspace(-5, axis.top_ms, 100)
    assert np.allclose(axis.inverse(axis.forward(given)), given)
    assert (np.diff(axis.forward(given)) > 0).all()
