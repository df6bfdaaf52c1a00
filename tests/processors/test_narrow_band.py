"""A filter of the phone's rate in a stream of another rate: no click where it starts, no sample lost."""

from __future__ import annotations

import numpy as np
import pytest

from moshi_phone.audio import pcm
from processors.narrow_band import NarrowBand
from tests.support.echoes import Floats

RATE_HZ = 24_000


def through(samples: Floats, size: int, held_bytes: int = 0) -> tuple[Floats, NarrowBand]:
    """Pass half of the samples, then filter the rest in blocks, with a filter that buffers bytes."""
    held = b""

    def clean(audio: bytes) -> bytes:
        nonlocal held
        held += audio
        passed = max(0, len(held) - held_bytes)
        cleaned, held = held[:passed], held[passed:]
        return cleaned

    audio = pcm.to_bytes(samples)
    begin = len(audio) // 2
    band, out = NarrowBand(RATE_HZ, clean, audio[:begin]), audio[:begin]
    for at in range(begin, len(audio), 2 * size):
        out += band.clean(audio[at : at + 2 * size])
    return pcm.to_float(out), band


@pytest.mark.parametrize("size", [240, 480, 1000, 1920])
@pytest.mark.parametrize("held_bytes", [0, 320])
def test_a_tone_continues_without_a_click(size: int, held_bytes: int) -> None:
    tone = (0.3 * np.sin(2 * np.pi * 300 * np.arange(RATE_HZ) / RATE_HZ)).astype(np.float32)
    out, band = through(tone, size, held_bytes)
    assert np.abs(np.diff(out)).max() < 1.5 * np.abs(np.diff(tone)).max()
    assert len(tone) - len(out) <= 3 * (held_bytes // 2 + 1)
    end, late = len(out) - 4000, round(band.delay_ms * RATE_HZ / 1000)
    assert np.allclose(out[end : end + 2000], tone[end - late : end - late + 2000], atol=0.01)


def test_nothing_above_4_khz_passes() -> None:
    tone = (0.3 * np.sin(2 * np.pi * 6000 * np.arange(RATE_HZ) / RATE_HZ)).astype(np.float32)
    out, band = through(tone, 480)
    assert band.delay_ms == 3
    assert np.abs(out[-8000:]).max() < 1e-3
