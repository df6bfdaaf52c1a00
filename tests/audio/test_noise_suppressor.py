"""The noise suppressor on speech and noise: what it removes, what it keeps, and its delay."""

from __future__ import annotations

import numpy as np
import pytest
from pystoi import stoi

from moshi_phone.audio.noise_suppressor import DELAY_MS, WebRtcNoiseSuppressor
from tests.support.echoes import on_the_phone, power_db, silence, speech

LATE = round(DELAY_MS * 8)


def suppressed(samples: np.ndarray, piece: int = 640) -> np.ndarray:
    suppressor = WebRtcNoiseSuppressor()
    return np.concatenate(
        [suppressor.process(samples[at : at + piece]) for at in range(0, len(samples), piece)]
    )


def test_noise_is_attenuated_and_speech_is_kept() -> None:
    clean = np.concatenate((silence(3), speech(6, caller=True)))
    noise = np.random.default_rng(1).normal(0, 0.1 * np.std(clean), len(clean)).astype(np.float32)
    noisy = on_the_phone(clean + noise)
    out = suppressed(noisy)
    assert len(out) == len(noisy)
    assert power_db(noisy[16_000:24_000]) - power_db(out[16_000:24_000]) >= 8
    assert stoi(clean[24_000:-LATE], out[24_000 + LATE :].astype(float), 8_000) >= 0.93


def test_its_delay_is_the_documented_one() -> None:
    clean = on_the_phone(speech(4, caller=True)).astype(float)
    out = suppressed(clean.astype(np.int16)).astype(float)
    match = [np.dot(out[late:], clean[: len(clean) - late]) for late in range(200)]
    assert np.argmax(match) == LATE


@pytest.mark.parametrize("piece", [80, 100, 30])
def test_blocks_of_any_length_give_the_same_output(piece: int) -> None:
    samples = on_the_phone(speech(1, caller=True))
    out = suppressed(samples, piece)
    assert (out == suppressed(samples)[: len(out)]).all()
    assert len(samples) - len(out) < 80
