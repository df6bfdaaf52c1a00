"""audio/beeps.py: three tones of the documented pitch, without clicks."""

from __future__ import annotations

import numpy as np
import pytest

from moshi_phone.audio.beeps import LOUDNESS, PAUSE_MS, TONE_HZ, TONE_MS, TONES, beeps


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 24_000, 48_000])
def test_three_tones(rate_hz: int) -> None:
    signal = beeps(rate_hz)
    assert signal.dtype == np.float32
    assert signal.size == TONES * (TONE_MS + PAUSE_MS) * rate_hz // 1000
    assert np.abs(signal).max() == pytest.approx(LOUDNESS, rel=0.05)
    tone = signal[: TONE_MS * rate_hz // 1000]
    assert np.argmax(np.abs(np.fft.rfft(tone))) * rate_hz / tone.size == pytest.approx(TONE_HZ, rel=0.01)
    assert signal[0] == 0
    assert np.abs(np.diff(signal)).max() < 2 * np.pi * TONE_HZ / rate_hz * LOUDNESS * 1.01, "no jump"
