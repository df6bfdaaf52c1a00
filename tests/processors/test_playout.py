from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from pipecat.frames.frames import Frame, OutputAudioRawFrame, SpeechOutputAudioRawFrame, TextFrame
from pipecat.processors.frame_processor import FrameDirection
from pipecat.tests.utils import run_test

from processors.frames import MarkInputFrame, MarkOutputFrame, PlayoutMetricsFrame
from processors.playout import PlayoutGovernor
from tests.support.logs import Logged

SPEECH = np.random.default_rng(0).normal(0, 3_000, 640).astype(np.int16)
SILENCE = np.random.default_rng(1).normal(0, 20, 640).astype(np.int16)  # a quiet room, not digital zero


class Clock:
    """Returns the time set by the test."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def audio(samples: NDArray[np.int16], rate_hz: int = 8_000, channels: int = 1) -> SpeechOutputAudioRawFrame:
    return SpeechOutputAudioRawFrame(samples.astype("<i2").tobytes(), rate_hz, num_channels=channels)


async def test_governor_sends_a_mark_at_the_start_and_after_the_first_audio() -> None:
    governor = PlayoutGovernor(now_s=Clock())
    frames, _ = await run_test(
        governor,
        frames_to_send=[TextFrame("passes"), audio(SPEECH), audio(SPEECH)],
        expected_down_frames=[
            MarkOutputFrame,
            TextFrame,
            PlayoutMetricsFrame,
            SpeechOutputAudioRawFrame,
            MarkOutputFrame,
            PlayoutMetricsFrame,
            SpeechOutputAudioRawFrame,
            MarkOutputFrame,
        ],
    )
    marks = [frame.mark for frame in frames if isinstance(frame, MarkOutputFrame)]
    assert marks == ["played-1", "played-2", "played-3"]
    leads_ms = [frame.lead_ms for frame in frames if isinstance(frame, PlayoutMetricsFrame)]
    assert leads_ms == [0, pytest.approx(80)]


@pytest.mark.parametrize(("gap_s", "is_told"), [(12.0, False), (0.0, True)])
async def test_a_burst_of_speech_without_a_stall_means_two_sources(
    gap_s: float, *, is_told: bool, logged: Logged
) -> None:
    clock = Clock()

    class Late(PlayoutGovernor):
        async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
            await super().process_frame(frame, direction)
            clock.now_s += gap_s if isinstance(frame, TextFrame) else 0.0

    sent = [audio(SPEECH), TextFrame("stalls"), *(audio(SPEECH) for _ in range(125))]
    await run_test(Late(now_s=clock), frames_to_send=sent)
    assert ("only one MoshiProcessor may speak" in logged.text) is is_told


async def test_governor_trims_early_audio_and_reports_it() -> None:
    clock = Clock()
    governor = PlayoutGovernor(target_ms=40, now_s=clock)
    sent = [*(audio(SPEECH) for _ in range(3)), *(audio(SILENCE) for _ in range(3))]
    frames, _ = await run_test(governor, frames_to_send=sent)
    lengths_ms = [len(frame.audio) / 16 for frame in frames if isinstance(frame, OutputAudioRawFrame)]
    assert lengths_ms == [80, 80, 80, 60]  # all at once: the lead is 240 ms, so the pause is trimmed to 60 ms
    told = [frame for frame in frames if isinstance(frame, PlayoutMetricsFrame)]
    # Audio that is trimmed completely does not remove a measurement.
    assert [frame.trimmed_ms for frame in told] == [0, 0, 0, 20, 100, 180]
    assert [round(frame.lead_ms) for frame in told] == [0, 80, 160, 240, 240, 240]


@pytest.mark.parametrize(("rate_hz", "channels"), [(16_000, 1), (24_000, 1), (48_000, 2)])
async def test_governor_accepts_audio_of_any_rate(rate_hz: int, channels: int) -> None:
    governor = PlayoutGovernor(target_ms=40, now_s=Clock())
    samples = rate_hz * 80 // 1000 * channels
    speech = np.resize(SPEECH, samples)
    silence = np.zeros(samples, np.int16)
    frames, _ = await run_test(
        governor, frames_to_send=[audio(block, rate_hz, channels) for block in (speech, speech, silence)]
    )
    heard = [frame for frame in frames if isinstance(frame, OutputAudioRawFrame)]
    assert {(frame.sample_rate, frame.num_channels) for frame in heard} == {(rate_hz, channels)}
    assert [len(frame.audio) * 1000 / (2 * channels * rate_hz) for frame in heard] == [80, 80, 60]


async def test_governor_uses_mark_acknowledgements() -> None:
    governor = PlayoutGovernor(now_s=Clock())
    await run_test(governor, frames_to_send=[MarkInputFrame("played-1")])
    assert not governor.playout.clock._marks
