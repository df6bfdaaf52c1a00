from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pipecat.frames.frames import (
    ErrorFrame,
    Frame,
    InputAudioRawFrame,
    OutputAudioRawFrame,
    SpeechOutputAudioRawFrame,
    TTSAudioRawFrame,
)
from pipecat.tests.utils import run_test

from moshi_phone.audio import g711, pcm
from moshi_phone.testing import FakeSession, run_simulated
from processors.frames import MulawOutputFrame
from processors.mono import MonoMixer
from processors.moshi import MoshiProcessor
from processors.mulaw import MulawEncoder
from processors.resampler import Resampler
from tests.processors.pipecat_line import Talker, phone_line
from tests.processors.simulated_line import call, loud_s, tone
from tests.support.logs import Logged

LEFT = tone(0.08, 24_000)


def stereo(kind: Any, left: np.ndarray, rate_hz: int) -> Any:
    """The left channel's sound; the right one is silent."""
    both = np.stack((left, np.zeros_like(left)), axis=1)
    return kind(pcm.to_bytes(both.ravel()), rate_hz, num_channels=2)


def warnings_in(logged: Logged) -> int:
    return logged.text.count("expects mono audio, got 2 channels, and mixes them")


def test_channels_are_mixed_in_place_with_one_warning(logged: Logged) -> None:
    mixer, frames = MonoMixer("A stage"), [stereo(OutputAudioRawFrame, LEFT, 24_000) for _ in range(2)]
    for frame in frames:
        mixer.mix(frame)
        mixer.mix(frame)  # by another stage
        assert (frame.num_channels, frame.num_frames) == (1, LEFT.size)
        np.testing.assert_allclose(pcm.to_float(frame.audio), LEFT / 2, atol=1 / 32_768)
    assert warnings_in(logged) == 1


def test_an_incomplete_last_sample_is_dropped() -> None:
    assert pcm.to_mono(b"\x02\x00\x04\x00\x06\x00", 2) == b"\x03\x00"


async def test_the_resampler_gives_mono(logged: Logged) -> None:
    """Each frame was an error, which ended the call."""
    frame = stereo(SpeechOutputAudioRawFrame, LEFT, 24_000)
    frames, errors = await run_test(Resampler(24_000, 8_000), frames_to_send=[frame])
    assert not errors
    (mono,) = [one for one in frames if isinstance(one, SpeechOutputAudioRawFrame)]
    assert (mono.num_channels, mono.num_frames) == (1, 640)
    assert warnings_in(logged) == 1


async def test_the_encoder_gives_mono(logged: Logged) -> None:
    """The same."""
    (encoded,), errors = await run_test(
        MulawEncoder(), frames_to_send=[stereo(OutputAudioRawFrame, LEFT, 8_000)]
    )
    assert not errors
    assert isinstance(encoded, MulawOutputFrame)
    assert encoded.mulaw == g711.encode(pcm.to_bytes(LEFT * np.float32(0.5)))
    assert warnings_in(logged) == 1


def test_the_session_hears_a_caller_of_two_channels(logged: Logged) -> None:
    """Each frame was an error, and the engine heard nothing."""
    session = FakeSession()
    frames: list[Frame] = [stereo(InputAudioRawFrame, LEFT, 24_000) for _ in range(2)]
    _, upstream = run_simulated(run_test(MoshiProcessor(session), frames_to_send=frames))
    assert not [frame for frame in upstream if isinstance(frame, ErrorFrame)]
    np.testing.assert_allclose(session.heard[-1], LEFT / 2, atol=1 / 32_768)
    assert warnings_in(logged) == 1


@pytest.mark.parametrize("encoded", [True, False])
def test_a_stereo_clip_is_heard_whole(*, encoded: bool, logged: Logged) -> None:
    """Without an encoder it lasted twice as long, and an octave lower."""
    clip = stereo(TTSAudioRawFrame, tone(1, 8_000), 8_000)

    async def play(worker: Any, _: Any) -> None:
        await worker.queue_frame(clip)

    def stages(transport: Any) -> list[Any]:
        line = phone_line(transport, Talker(speaks=()))
        return [stage for stage in line if encoded or not isinstance(stage, MulawEncoder)]

    heard, _ = call(stages, 4, script=play)
    assert loud_s(heard) == pytest.approx(1, abs=0.05)
    assert warnings_in(logged) == 1
