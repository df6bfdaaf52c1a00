from __future__ import annotations

import numpy as np
import pytest

from moshi_phone.rehearse.delay_axis import FINE_SHARE, DelayAxis

LIMIT_MS = 300.0


def test_a_good_call_and_the_limit_are_both_visible() -> None:
    delay_ms = np.random.default_rng(1).normal(10, 1, 250)
    axis = DelayAxis.of(delay_ms, LIMIT_MS)
    backends = axis.forward(delay_ms)
    assert np.ptp(backends) > 0.2  # against 0.015 on an axis of one scale up to the limit
    assert backends.max() < FINE_SHARE < axis.forward(LIMIT_MS) < 1
    assert axis.ticks_ms(LIMIT_MS)[-1] == LIMIT_MS


def test_one_scale_is_enough_for_delays_near_or_above_the_limit() -> None:
    axis = DelayAxis.of([200.0, 430.0, np.nan], LIMIT_MS)
    assert axis.break_ms is None
    assert axis.forward(axis.top_ms) == 1
    assert axis.forward([430.0, LIMIT_MS])[0] < 1


def test_one_late_frame_is_visible_and_does_not_flatten_the_others() -> None:
    delay_ms = [10.0] * 250 + [5000.0]
    axis = DelayAxis.of(delay_ms, LIMIT_MS)
    assert axis.forward(10) > 0.3
    assert axis.forward(5000) < 1
    assert axis.ticks_ms(LIMIT_MS)[-2:] == [300, 5000]


def test_without_delays_the_limit_is_visible() -> None:
    axis = DelayAxis.of([np.nan], LIMIT_MS)
    assert 0 < axis.forward(LIMIT_MS) < 1


@pytest.mark.parametrize("delay_ms", [[10.0], [400.0], []])
def test_the_scale_s_inverse_is_exact(delay_ms: list[float]) -> None:
    axis = DelayAxis.of(delay_ms, LIMIT_MS)
    given = np.linspace(-5, axis.top_ms, 100)
    assert np.allclose(axis.inverse(axis.forward(given)), given)
    assert (np.diff(axis.forward(given)) > 0).all()
