from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pipecat.frames.frames import OutputAudioRawFrame, SpeechOutputAudioRawFrame, TextFrame
from pipecat.tests.utils import run_test

from audio.silence_trimmer import JitterMargin, SilenceTrimmer
from processors.frames import MarkInputFrame, MarkOutputFrame
from processors.playout import PlayoutGovernor

SPEECH = np.random.default_rng(0).normal(0, 3_000, 640).astype(np.int16)
SILENCE = np.random.default_rng(1).normal(0, 20, 640).astype(np.int16)  # a quiet room, not digital zero


def fed(blocks: list[NDArray[np.int16]], lead_ms: float, trimmer: SilenceTrimmer) -> list[int]:
    """Trim blocks in a row, each 80 ms after the last; gives their lengths in ms."""
    lengths = []
    for block in blocks:
        left = trimmer.trim(block, lead_ms)
        lead_ms += left.size / 8 - 80
        lengths.append(left.size // 8)
    return lengths


def test_nothing_is_taken_while_the_lead_is_short() -> None:
    assert fed([SILENCE, SPEECH] * 4, 40, SilenceTrimmer(40)) == [80] * 8


def test_pauses_pay_back_and_speech_is_whole() -> None:
    lengths = fed([SPEECH] * 5 + [SILENCE] * 10 + [SPEECH], 640, SilenceTrimmer(40))
    assert lengths[:5] == [80] * 5
    assert sum(lengths[5:15]) == 800 - 600
    assert lengths[5] == 60  # the first 60 ms of a pause stay, or words would be cut
    assert lengths[15] == 80


def test_a_stop_inside_a_word_is_no_pause() -> None:
    word = np.concatenate((SPEECH[:320], SILENCE[:320]))  # 40 ms of each
    assert fed([word] * 10, 900, SilenceTrimmer(40)) == [80] * 10


def test_beyond_a_second_speech_is_cut_down_to_it() -> None:
    lengths = fed([SPEECH] * 5, 1_150, SilenceTrimmer(40))
    assert lengths == [0, 10, 80, 80, 80]


def test_a_cushion_that_nobody_needs_goes() -> None:
    trimmer = SilenceTrimmer(40)
    lengths = fed([SILENCE] * 200, 38, trimmer)
    assert 8_000 * 2 - sum(lengths) == 35  # what is left is the spare
    assert trimmer.trimmed_ms == 35


def test_a_cushion_that_is_needed_stays() -> None:
    cushion = JitterMargin(40)
    leads = ([38.0] * 20 + [8.0]) * 20  # every 1.7 s a block is 30 ms late
    assert max(cushion.excess_ms(lead_ms) for lead_ms in leads) <= 5


@given(
    st.lists(st.tuples(st.sampled_from([SPEECH, SILENCE]), st.floats(0, 999)), max_size=60),
    st.floats(0, 100),
)
def test_speech_is_never_cut_below_a_second(
    blocks: list[tuple[NDArray[np.int16], float]], target_ms: float
) -> None:
    trimmer = SilenceTrimmer(target_ms)
    for block, lead_ms in blocks:
        left = trimmer.trim(block, lead_ms)
        assert left.size % 40 == 0
        if block is SPEECH:
            assert left is SPEECH


class Clock:
    """Says what the test has set."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def audio(samples: NDArray[np.int16]) -> SpeechOutputAudioRawFrame:
    frame = SpeechOutputAudioRawFrame(samples.astype("<i2").tobytes(), 8_000, num_channels=1)
    frame.metadata["delay_ms"] = 3
    return frame


async def test_governor_marks_the_first_audio_and_passes_the_rest() -> None:
    governor = PlayoutGovernor(now_s=Clock())
    frames, _ = await run_test(
        governor,
        frames_to_send=[TextFrame("passes"), audio(SPEECH), audio(SPEECH)],
        expected_down_frames=[
            TextFrame,
            SpeechOutputAudioRawFrame,
            MarkOutputFrame,
            SpeechOutputAudioRawFrame,
        ],
    )
    assert governor.lead_ms == pytest.approx(160)
    mark = frames[2]
    assert isinstance(mark, MarkOutputFrame)
    assert mark.mark == "played-1"


async def test_governor_trims_what_came_too_early_and_keeps_metadata() -> None:
    clock = Clock()
    governor = PlayoutGovernor(target_ms=40, now_s=clock)
    sent = [*(audio(SPEECH) for _ in range(3)), *(audio(SILENCE) for _ in range(3))]
    frames, _ = await run_test(governor, frames_to_send=sent)
    lengths_ms = [len(frame.audio) / 16 for frame in frames if isinstance(frame, OutputAudioRawFrame)]
    assert lengths_ms == [80, 80, 80, 60]  # all at once: the lead is 240 ms, so the pause goes but for 60
    assert frames[-1].metadata == {"delay_ms": 3, "trimmed_ms": 20}


async def test_governor_learns_from_echoes() -> None:
    clock = Clock()
    governor = PlayoutGovernor(now_s=clock)
    await run_test(governor, frames_to_send=[audio(SPEECH), MarkInputFrame("played-1")])
    assert not governor.clock._marks
