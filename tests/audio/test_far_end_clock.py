from __future__ import annotations

import numpy as np
import pytest

from moshi_phone.audio.far_end_clock import FarEndClock

FRAME_S = 0.08


def followed(
    clock: FarEndClock, secs: float, fast: float, jitter_s: float, event_s: float = 0.0
) -> list[float]:
    """Let a clock follow the far end's frames; return its difference from theirs at each frame.

    Args:
        clock: the clock under test.
        secs: the duration.
        fast: the far end's relative speed, minus 1.
        jitter_s: the maximum delay of a frame.
        event_s: halfway, the delay grows by this.
    """
    random = np.random.default_rng(1)
    off_s = []
    for frame in range(1, round(secs / FRAME_S)):
        now_s = frame * FRAME_S / (1 + fast) + random.uniform(0, jitter_s)
        if frame * FRAME_S > secs / 2:
            now_s += event_s
        clock.answered(FRAME_S, now_s)
        off_s.append(clock.time_s(now_s) - now_s * (1 + fast))
    return off_s


@pytest.mark.parametrize("fast", [0.0, 0.001, -0.001, 0.005, -0.005])
@pytest.mark.parametrize("jitter_s", [0.0, 0.05])
def test_the_far_end_s_clock_is_estimated_within_seconds_and_kept(fast: float, jitter_s: float) -> None:
    clock = FarEndClock()
    off_s = followed(clock, 3_600, fast, jitter_s)
    assert clock.drift == pytest.approx(-fast / (1 + fast), abs=2e-4)
    settled = off_s[round(60 / FRAME_S) :]
    assert max(settled) - min(settled) < 0.02  # an error of 0.02 % would be 700 ms by now


def test_a_single_delay_change_is_not_drift() -> None:
    """Frames were dropped, or the path became longer: everything is later from then on."""
    for event_s in (0.02, 0.08, 2.0):
        clock = FarEndClock()
        followed(clock, 600, 0.0, 0.01, event_s)
        assert abs(clock.drift) < 2e-4
        assert abs(clock.time_s(600) - 600) < 0.01


def test_an_implausible_rate_is_rejected() -> None:
    clock = FarEndClock()
    for frame in range(1_000):
        clock.answered(FRAME_S, frame * 0.01)  # speech from a machine that is eight times as fast
    assert clock.drift == 0
    assert clock.time_s(10.0) == pytest.approx(10.0, abs=0.01)
