from __future__ import annotations

import numpy as np
import pytest

from moshi_phone.audio import g711, pcm
from moshi_phone.audio.formats import PHONE_FRAME_SAMPLES, PHONE_RATE_HZ
from moshi_phone.rehearse.alignment import Alignment, Samples, align
from moshi_phone.rehearse.clip import CALLER_FILE, caller_speech


def speech(secs: float = 8.0) -> Samples:
    return pcm.to_float(g711.decode(caller_speech(CALLER_FILE, secs)))


def later(said: Samples, samples: int) -> Samples:
    return np.concatenate((np.zeros(samples, np.float32), said))


@pytest.mark.parametrize("lag_samples", [0, 1, 240, 12_345])
def test_every_frame_found_is_located_to_the_sample(lag_samples: int) -> None:
    said = speech()
    alignment = align(said, later(said, lag_samples))
    assert alignment is not None
    lags = alignment.lag_samples[np.isfinite(alignment.lag_samples)]
    assert len(lags) > 50
    assert np.all(lags == lag_samples)
    assert alignment.clock_skew == 0.0


def test_speech_in_strong_noise_is_found() -> None:
    said = speech()
    noise = np.random.default_rng(1).normal(0, 0.5 * float(np.std(said)), len(said) + 800)
    alignment = align(said, later(said, 800) + noise.astype(np.float32))
    assert alignment is not None
    assert np.nanmedian(alignment.lag_samples) == 800
    assert np.nanmin(alignment.correlation) >= 0.6


def test_other_speech_is_not_aligned() -> None:
    said = speech()
    noise = np.random.default_rng(1).normal(0, 0.1, len(said)).astype(np.float32)
    assert align(said, noise) is None
    assert align(said, said[::-1].copy()) is None
    assert align(said, np.zeros_like(said)) is None


def test_a_silent_caller_cannot_be_aligned() -> None:
    assert align(np.zeros(PHONE_RATE_HZ, np.float32), speech()) is None


def test_the_skew_of_a_slow_clock() -> None:
    lags = np.arange(100, dtype=np.float64) * (PHONE_FRAME_SAMPLES * 0.01)
    lags[::7] = np.nan
    assert Alignment(lags, np.ones(100)).clock_skew == pytest.approx(0.01)
    assert Alignment(lags[:20], np.ones(20)).clock_skew == 0.0  # too short to decide
