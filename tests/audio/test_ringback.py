from __future__ import annotations

import numpy as np
import pytest

from moshi_phone.audio.ringback import LOUDNESS, OFF_S, ON_S, TONES_HZ, ringback

RATE_HZ = 8_000


def test_it_rings_for_two_seconds_and_pauses_for_four() -> None:
    tone = ringback(0, int(2 * (ON_S + OFF_S) * RATE_HZ), RATE_HZ)
    loud = np.abs(tone.reshape(-1, RATE_HZ // 10)).max(axis=1) > 0.01
    assert loud.tolist() == ([True] * 20 + [False] * 40) * 2


def test_blocks_join_without_a_seam() -> None:
    whole = ringback(0, 3 * RATE_HZ, RATE_HZ)
    pieces = [ringback(at, 640, RATE_HZ) for at in range(0, 3 * RATE_HZ, 640)]
    assert np.array_equal(np.concatenate(pieces)[: whole.size], whole)


def test_it_has_two_tones_and_does_not_clip() -> None:
    second = ringback(RATE_HZ // 2, RATE_HZ, RATE_HZ)
    assert np.abs(second).max() <= 2 * LOUDNESS
    spectrum = np.abs(np.fft.rfft(second)) / (RATE_HZ / 2)
    for hz in TONES_HZ:
        assert spectrum[int(hz)] == pytest.approx(LOUDNESS, rel=0.01)
