"""Segments of speech in clips with known edges."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from moshi_phone.audio.formats import PHONE_RATE_HZ
from moshi_phone.conversation import silero
from moshi_phone.conversation.segmenter import SpeechSegmenter
from tests.conversation.scripted import clip

EDGE_S = 0.08


def speech_at(*at_s: float, secs: float, noise: float = 0.0, name: str = "open-1") -> NDArray[np.int16]:
    samples = (
        np.random.default_rng(3).normal(0, noise, round(secs * PHONE_RATE_HZ))
        if noise
        else np.zeros(round(secs * PHONE_RATE_HZ))
    )
    said = clip("slt", name)
    for begin_s in at_s:
        begin = round(begin_s * PHONE_RATE_HZ)
        part = said[: len(samples) - begin]
        samples[begin : begin + len(part)] += part
    return (32767 * np.clip(samples, -1, 1)).astype(np.int16)


def segment(samples: NDArray[np.int16], block: int = 640) -> SpeechSegmenter:
    segmenter = SpeechSegmenter()
    for begin in range(0, len(samples), block):
        segmenter.feed(samples[begin : begin + block])
    return segmenter


@pytest.mark.parametrize("noise", [0.0, 0.006, 0.02])
def test_edges_match_the_voice(noise: float) -> None:
    segmenter = segment(speech_at(1.0, 12.0, secs=16, noise=noise))
    secs = len(clip("slt", "open-1")) / PHONE_RATE_HZ
    assert [s.begin_s for s in segmenter.segments] == pytest.approx([1.0, 12.0], abs=EDGE_S)
    assert [s.end_s for s in segmenter.segments] == pytest.approx([1 + secs, 12 + secs], abs=EDGE_S)


def test_the_result_does_not_depend_on_the_block_length() -> None:
    samples = speech_at(1.0, 5.0, secs=9, noise=0.006)
    expected = segment(samples).segments
    for block in (1, 160, 333, 4096, len(samples)):
        assert segment(samples, block).segments == expected


def test_speech_after_long_noise_is_detected_at_once() -> None:
    """Silero's network alone misses the beginning of such speech."""
    segmenter = segment(speech_at(60.0, secs=64, noise=0.02))
    assert [s.begin_s for s in segmenter.segments] == pytest.approx([60.0], abs=EDGE_S)


@pytest.mark.parametrize("kind", ["silence", "noise", "tone", "clicks"])
def test_non_speech_is_not_detected_as_speech(kind: str) -> None:
    samples = np.zeros(20 * PHONE_RATE_HZ)
    if kind == "noise":
        samples = np.random.default_rng(1).normal(0, 0.05, samples.size)
    elif kind == "tone":
        samples = 0.2 * np.sin(2 * np.pi * 440 * np.arange(samples.size) / PHONE_RATE_HZ)
    elif kind == "clicks":
        samples[:: PHONE_RATE_HZ // 2] = 0.9
    segmenter = segment((32767 * np.clip(samples, -1, 1)).astype(np.int16))
    segmenter.finish()
    assert segmenter.segments == []


def test_the_network_is_not_run_in_silence_or_soon_after_a_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes most of the time. It runs on during pauses within speech."""
    windows = list[int]()
    probabilities = silero._probabilities

    def counted(asked: Sequence[silero.Window]) -> list[float]:
        windows.append(len(asked))
        return probabilities(asked)

    silero.NetworkState().reset(silent_windows=3)  # once in a process
    monkeypatch.setattr(silero, "_probabilities", counted)
    segment(speech_at(secs=4))
    assert not windows
    clicks = speech_at(secs=9)
    clicks[8_000::8_000] = 30_000
    segment(clicks, block=5120)
    assert 8 <= len(windows) <= 8 * 5
    windows.clear()
    pausing = speech_at(1.0, secs=3.0)
    pausing[12_000:13_600] = 0  # 200 ms
    said_s = segment(pausing).heard_s - 1.0
    assert said_s / 0.032 - 2 <= len(windows) <= said_s / 0.032 + 8


@pytest.mark.parametrize("amplitude", [0, 1])
def test_digital_silence_is_treated_like_faint_noise(amplitude: int) -> None:
    """The network's state for digital silence before speech is precomputed."""
    samples = speech_at(1.0, 8.0, secs=12)
    samples[samples == 0] = amplitude
    expected = [pytest.approx(begin_s, abs=0.008) for begin_s in (1.0, 8.0)]
    assert [span.begin_s for span in segment(samples).segments] == expected


def test_an_open_segment_is_reported_and_ends_with_the_call() -> None:
    segmenter = segment(speech_at(1.0, secs=2))
    assert segmenter.segments == []
    assert segmenter.open_since_s == pytest.approx(1.0, abs=EDGE_S)
    assert segmenter.spans[-1].end_s == pytest.approx(2.0, abs=EDGE_S)
    segmenter.finish()
    assert [s.end_s for s in segmenter.segments] == pytest.approx([2.0], abs=EDGE_S)


def test_memory_does_not_grow_with_the_call() -> None:
    segmenter = segment(np.zeros(600 * PHONE_RATE_HZ, np.int16))
    assert len(segmenter._levels) < 512
    assert segmenter.heard_s == pytest.approx(600, abs=0.04)
