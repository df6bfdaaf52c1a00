"""Correlation of a signal with an earlier one: delay, filter and level."""

from __future__ import annotations

import numpy as np
import pytest

from moshi_phone.conversation.correlation import correlate, impulse_response, levelled, quick_length

RNG = np.random.default_rng(3)
NOISE = RNG.standard_normal(6000).astype(np.float32) * 1000


@pytest.mark.parametrize("delay", [0, 7, 3999])
def test_the_peak_is_at_the_delay(delay: int) -> None:
    later = 0.1 * NOISE[4000 - delay : 6000 - delay] + 300 * RNG.standard_normal(2000).astype(np.float32)
    found = correlate(later, NOISE)
    assert len(found) == 4001
    assert int(np.argmax(np.abs(found))) == delay
    assert abs(found[delay]) > 7


def test_the_impulse_response_has_the_filter_s_delay_and_energy() -> None:
    later = np.concatenate((np.zeros(40, np.float32), 0.3 * NOISE))[: len(NOISE)]
    response = impulse_response(later, NOISE, 100)
    assert int(np.argmax(np.abs(response))) == 40
    assert float(np.sum(response[30:50] ** 2)) == pytest.approx(0.09, rel=0.15)


def test_levelling_equalizes_loud_and_soft_parts() -> None:
    both = np.concatenate((NOISE[:2000], 0.1 * NOISE[:2000]))
    level = levelled(both, 160)
    assert len(level) == len(both)
    assert float(np.std(level[2200:3800]) / np.std(level[200:1800])) == pytest.approx(1, abs=0.15)


def test_the_fast_fft_length() -> None:
    assert [quick_length(at_least) for at_least in (1, 7, 5600, 5601)] == [2, 8, 5760, 5760]
