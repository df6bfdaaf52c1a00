from __future__ import annotations

import numpy as np
import pytest
from pipecat.frames.frames import (
    ErrorFrame,
    InputAudioRawFrame,
    OutputAudioRawFrame,
    SpeechOutputAudioRawFrame,
    TextFrame,
    TTSAudioRawFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.processors.logger import FrameLogger
from pipecat.tests.utils import run_test
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams

from moshi_phone.audio import g711
from processors.frames import MulawInputFrame, MulawOutputFrame
from processors.mulaw import MulawDecoder, MulawEncoder
from tests.support.logs import Logged

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


async def test_encoder_before_an_output_that_takes_pcm_is_an_error() -> None:
    """phone_call on another pipecat transport was a silent call without an explanation."""
    output = BaseOutputTransport(TransportParams(audio_out_enabled=True))
    _, errors = await run_test(Pipeline([MulawEncoder(), FrameLogger(), output]), frames_to_send=[])
    (error,) = errors
    assert isinstance(error, ErrorFrame)
    assert "pipelines.any_transport is the list for others" in error.error


async def test_encoder_gives_mulaw() -> None:
    audio = np.arange(-32_000, 32_000, 250).astype("<i2").tobytes()
    frames, _ = await run_test(
        MulawEncoder(),
        frames_to_send=[OutputAudioRawFrame(audio, 8_000, num_channels=1)],
        expected_down_frames=[MulawOutputFrame],
    )
    assert isinstance(frames[0], MulawOutputFrame)
    assert frames[0].mulaw == g711.encode(audio)


@pytest.mark.parametrize("kind", [OutputAudioRawFrame, TTSAudioRawFrame, SpeechOutputAudioRawFrame])
async def test_the_kind_of_frame_is_kept(kind: type[OutputAudioRawFrame]) -> None:
    frame = kind(bytes(640), 8_000, num_channels=1)
    frame.interruptible = False
    (encoded,), _ = await run_test(MulawEncoder(), frames_to_send=[frame])
    assert isinstance(encoded, MulawOutputFrame)
    assert (encoded.kind, encoded.interruptible) == (kind, False)


async def test_the_callers_own_audio_is_not_encoded() -> None:
    """The caller heard themselves, because a recognizer passes on its input."""
    heard = InputAudioRawFrame(bytes(640), 8_000, num_channels=1)
    frames, _ = await run_test(MulawEncoder(), frames_to_send=[heard])
    assert frames == [heard]


async def test_a_missing_resampler_is_logged_once_and_replaced(logged: Logged) -> None:
    frames, errors = await run_test(
        MulawEncoder(),
        frames_to_send=[OutputAudioRawFrame(bytes(3_840), 24_000, num_channels=1) for _ in range(3)],
        expected_down_frames=[MulawOutputFrame] * 3,
    )
    assert [len(frame.mulaw) for frame in frames if isinstance(frame, MulawOutputFrame)] == [640] * 3
    assert not errors
    assert logged.text.count("expects 8000 Hz, got 24000 Hz") == 1
    assert "put Resampler(24000, 8000) before it" in logged.text


async def test_chunks_with_incomplete_samples_are_joined() -> None:
    audio = np.arange(-32_000, 32_000, 250).astype("<i2").tobytes()
    pieces = [audio[at : at + 7] for at in range(0, len(audio), 7)]
    frames, errors = await run_test(
        MulawEncoder(), frames_to_send=[OutputAudioRawFrame(piece, 8_000, num_channels=1) for piece in pieces]
    )
    assert not errors
    assert b"".join(frame.mulaw for frame in frames if isinstance(frame, MulawOutputFrame)) == g711.encode(
        audio
    )
