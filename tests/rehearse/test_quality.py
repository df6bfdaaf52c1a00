from __future__ import annotations

import numpy as np
import pytest

from moshi_phone.audio import g711, pcm
from moshi_phone.audio.formats import PHONE_FRAME_SAMPLES
from moshi_phone.rehearse.alignment import Alignment, Samples
from moshi_phone.rehearse.clip import CALLER_FILE, caller_speech
from moshi_phone.rehearse.playback import Gap
from moshi_phone.rehearse.quality import clipped_share, line_quality

SAID: Samples = pcm.to_float(g711.decode(caller_speech(CALLER_FILE, 8.0)))
FRAMES = len(SAID) // PHONE_FRAME_SAMPLES


def at_once(lag_samples: float = 0.0) -> Alignment:
    return Alignment(np.full(FRAMES, lag_samples), np.ones(FRAMES))


def test_a_louder_copy_is_perfect() -> None:
    quality = line_quality(SAID, (1.5 * SAID).astype(np.float32), at_once())
    assert quality is not None
    assert quality.stoi == pytest.approx(1, abs=0.001)
    assert quality.snr_db > 60
    assert quality.blocks == 4


def test_noise_lowers_the_score_as_expected() -> None:
    level = float(np.sqrt(np.mean(np.square(SAID))))
    noise = np.random.default_rng(1).normal(0, 0.1 * level, len(SAID)).astype(np.float32)
    quality = line_quality(SAID, SAID + noise, at_once())
    assert quality is not None
    assert quality.snr_db == pytest.approx(20, abs=2)


def test_one_bad_block_does_not_hide_the_rest() -> None:
    heard = SAID.copy()
    heard[: 25 * PHONE_FRAME_SAMPLES] = heard[: 25 * PHONE_FRAME_SAMPLES][::-1]
    quality = line_quality(SAID, heard, at_once())
    assert quality is not None
    assert quality.stoi > 0.99


def test_gaps_do_not_lower_the_score() -> None:
    heard = SAID.copy()
    hole = slice(40 * PHONE_FRAME_SAMPLES, 70 * PHONE_FRAME_SAMPLES)
    heard[hole] = 0
    quality = line_quality(SAID, heard, at_once(), [Gap(hole.start, hole.stop - hole.start)])
    assert quality is not None
    assert quality.snr_db > 60


def test_short_or_skewed_speech_is_not_judged() -> None:
    few = at_once()
    few.lag_samples[9:] = np.nan
    assert line_quality(SAID, SAID, few) is None
    slow = Alignment(np.arange(FRAMES, dtype=np.float64) * (PHONE_FRAME_SAMPLES * 0.01), np.ones(FRAMES))
    assert line_quality(SAID, SAID, slow) is None


def test_clipped_samples() -> None:
    assert clipped_share(np.zeros(0, np.float32)) == 0.0
    loudest = pcm.to_float(g711.decode(b"\x00\x80\xff\xff"))  # -32,124, 32,124 and silence
    assert clipped_share(loudest) == 0.5
