"""The automatic gain: how much and how fast it changes, and which callers it leaves unchanged."""

from __future__ import annotations

import numpy as np
import pytest

from moshi_phone.audio.automatic_gain import MAX_GAIN_DB, MAX_NOISE_DBFS, GainControl
from tests.support.echoes import power_db, silence, speech

VOICE = speech(18, caller=True)
ACTIVE = np.abs(VOICE) > 0.1 * np.abs(VOICE).max()
VOICE_DBFS = 10 * float(np.log10(np.mean(VOICE[np.convolve(ACTIVE, np.ones(400), "same") > 0] ** 2)))


def at(dbfs: float) -> np.ndarray:
    """Return a caller whose speech has about this level."""
    return pcm(VOICE * np.float32(10 ** ((dbfs - VOICE_DBFS) / 20)))


def pcm(samples: np.ndarray) -> np.ndarray:
    whole: np.ndarray = np.clip(np.rint(samples * 32_768), -32_768, 32_767).astype(np.int16)
    return whole


def noise(secs: float, dbfs: float) -> np.ndarray:
    return pcm(np.random.default_rng(1).normal(0, 10 ** (dbfs / 20), int(secs * 8_000)))


def through(samples: np.ndarray, control: GainControl | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the output, and the gain after each frame of 80 ms."""
    control, out, gains = control or GainControl(), [], []
    for begin in range(0, len(samples), 640):
        out.append(control.process(samples[begin : begin + 640]))
        gains.append(control.gain_db)
    return np.concatenate(out), np.array(gains)


@pytest.mark.parametrize(("dbfs", "gain_db"), [(-33, 10), (-38, 15), (-50, MAX_GAIN_DB)])
def test_a_quiet_caller_is_amplified_gradually(dbfs: float, gain_db: float) -> None:
    samples = at(dbfs)
    out, gains = through(samples)
    assert gains[-1] == pytest.approx(gain_db, abs=2)
    assert np.abs(np.diff(gains)).max() <= 0.25  # 3 dB a second
    assert gains.max() <= MAX_GAIN_DB
    assert np.ptp(gains[-50:]) < 1  # it has settled
    end = slice(-16_000, None)
    assert power_db(out[end]) - power_db(samples[end]) == pytest.approx(gains[-1], abs=0.5)


def test_callers_of_normal_or_high_level_are_unchanged() -> None:
    for dbfs in (-28, -22, -12):
        samples = at(dbfs)
        out, _ = through(samples)
        assert (out == samples).all()


@pytest.mark.parametrize("dbfs", [-75, -50, -30])
def test_noise_alone_is_not_amplified(dbfs: float) -> None:
    samples = noise(6, dbfs)
    assert (through(samples)[0] == samples).all()


def test_noise_that_starts_is_amplified_only_briefly() -> None:
    _, gains = through(np.concatenate((noise(4, -70), noise(8, -35))))
    assert gains.max() <= 6
    assert gains[-1] == 0


def test_the_noise_of_a_quiet_caller_stays_low() -> None:
    samples = np.clip(at(-50).astype(int) + noise(18, -62), -32_768, 32_767).astype(np.int16)
    _, gains = through(samples)
    assert 8 <= gains[-1] <= MAX_NOISE_DBFS + 62 + 2


def test_the_gain_is_constant_in_a_pause() -> None:
    control = GainControl()
    through(at(-40), control)
    before = control.gain_db
    out, gains = through(noise(5, -75), control)
    assert set(gains) == {before}
    assert power_db(out[8_000:]) < MAX_NOISE_DBFS


def test_a_sudden_loud_sound_is_limited() -> None:
    control = GainControl()
    through(at(-45), control)
    assert control.gain_db > 15
    loud = pcm(0.5 * np.sin(np.arange(3_200) * 2 * np.pi * 440 / 8_000))
    out, _ = through(loud, control)
    assert np.abs(out).max() <= 0.71 * 32_768
    after, _ = through(at(-45)[:16_000], control)
    assert power_db(after[-8_000:]) - power_db(at(-45)[8_000:16_000]) > 10  # the limiter releases at once


def test_silence_and_empty_blocks_are_accepted() -> None:
    control = GainControl()
    assert not control.process(pcm(silence(1))).any()
    assert len(control.process(np.zeros(0, np.int16))) == 0
