"""processors/tone.py: the tone is mixed into passing audio, across frame boundaries, and adds no audio."""

from __future__ import annotations

import numpy as np
import pytest
from pipecat.frames.frames import Frame, OutputAudioRawFrame, TextFrame
from pipecat.tests.utils import run_test

from moshi_phone.audio import g711, pcm
from moshi_phone.audio.beeps import beeps
from processors.frames import MulawOutputFrame
from processors.tone import ToneOverlay

SILENT_FRAMES = 12


def silence(kind: str) -> Frame:
    if kind == "µ-law":
        return MulawOutputFrame(bytes([g711.SILENCE]) * 640)
    return OutputAudioRawFrame(bytes(2 * 1920), 24_000, 1)


def sound(frame: Frame) -> bytes:
    if isinstance(frame, MulawOutputFrame):
        return g711.decode(frame.mulaw)
    assert isinstance(frame, OutputAudioRawFrame)
    return frame.audio


@pytest.mark.parametrize(("kind", "rate_hz"), [("µ-law", 8_000), ("PCM", 24_000)])
async def test_the_tone_is_heard_once(kind: str, rate_hz: int) -> None:
    overlay = ToneOverlay()
    overlay.sound()
    sent = [silence(kind) for _ in range(SILENT_FRAMES)]
    passed, _ = await run_test(overlay, frames_to_send=sent)
    heard = np.concatenate([pcm.to_float(sound(frame)) for frame in passed])
    wanted = beeps(rate_hz)
    np.testing.assert_allclose(heard[: wanted.size], wanted, atol=0.01)
    assert not heard[wanted.size :].any()
    assert heard.size == SILENT_FRAMES * rate_hz * 80 // 1000


async def test_it_is_mixed_with_speech() -> None:
    overlay = ToneOverlay()
    overlay.sound()
    loud = OutputAudioRawFrame(pcm.to_bytes(np.full(1920, 0.95, np.float32)), 24_000, 1)
    [passed], _ = await run_test(overlay, frames_to_send=[loud])
    assert isinstance(passed, OutputAudioRawFrame)
    heard = pcm.to_float(passed.audio)
    assert heard.max() == pytest.approx(1.0, abs=1e-3), "clipped, not wrapped"
    assert heard.min() > 0.7


async def test_without_a_request_audio_is_unchanged() -> None:
    frames = [silence("µ-law"), TextFrame("word"), silence("PCM")]
    before = [bytes([g711.SILENCE]) * 640, bytes(2 * 1920)]
    passed, _ = await run_test(ToneOverlay(), frames_to_send=frames)
    assert [type(frame) for frame in passed] == [MulawOutputFrame, TextFrame, OutputAudioRawFrame]
    assert passed[0].mulaw == before[0]  # type: ignore[attr-defined]
    assert passed[2].audio == before[1]  # type: ignore[attr-defined]
