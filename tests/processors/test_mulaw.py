from __future__ import annotations

import numpy as np
from pipecat.frames.frames import ErrorFrame, InputAudioRawFrame, OutputAudioRawFrame, TextFrame
from pipecat.tests.utils import run_test

from moshi_phone.audio import g711
from processors.frames import MulawInputFrame, MulawOutputFrame
from processors.mulaw import MulawDecoder, MulawEncoder

CODES = bytes(range(256))


async def test_decoder_gives_phone_pcm() -> None:
    frames, _ = await run_test(
        MulawDecoder(),
        frames_to_send=[MulawInputFrame(CODES), TextFrame("passes")],
        expected_down_frames=[InputAudioRawFrame, TextFrame],
    )
    heard = frames[0]
    assert isinstance(heard, InputAudioRawFrame)
    assert (heard.sample_rate, heard.num_channels, heard.num_frames) == (8_000, 1, 256)
    assert heard.audio == g711.decode(CODES)


async def test_encoder_gives_mulaw() -> None:
    audio = np.arange(-32_000, 32_000, 250).astype("<i2").tobytes()
    frames, _ = await run_test(
        MulawEncoder(),
        frames_to_send=[OutputAudioRawFrame(audio, 8_000, num_channels=1)],
        expected_down_frames=[MulawOutputFrame],
    )
    assert isinstance(frames[0], MulawOutputFrame)
    assert frames[0].mulaw == g711.encode(audio)


async def test_encoder_reports_audio_that_no_phone_can_play() -> None:
    _, errors = await run_test(
        MulawEncoder(),
        frames_to_send=[OutputAudioRawFrame(bytes(480), 24_000, num_channels=1)],
        expected_down_frames=[],
    )
    assert [type(frame) for frame in errors] == [ErrorFrame]
    assert "expected 8000 Hz mono, got 24000 Hz" in errors[0].error  # type: ignore[attr-defined]
