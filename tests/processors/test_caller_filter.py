"""The base of the stages that filter the caller's audio."""

from __future__ import annotations

import numpy as np
import pytest
from pipecat.frames.frames import InputAudioRawFrame, OutputAudioRawFrame, TextFrame
from pipecat.tests.utils import run_test

from processors.caller_filter import CallerFilter
from tests.support.logs import Logged


class Half(CallerFilter):
    """Halves the amplitude, and withholds frames of one sample."""

    def filter(self, samples: np.ndarray) -> np.ndarray:
        if len(samples) == 1:
            return samples[:0]
        return samples // 2 if samples.any() else samples


async def test_only_the_caller_s_audio_is_filtered(logged: Logged) -> None:
    loud, silent, one = (np.full(80, 2, "<i2").tobytes(), bytes(160), bytes(2))
    sent = [InputAudioRawFrame(audio, 8_000, 1) for audio in (loud, silent, one)]
    others = [InputAudioRawFrame(loud, 16_000, 1), InputAudioRawFrame(loud, 8_000, 2), TextFrame("x")]
    down, _ = await run_test(Half(), frames_to_send=[*sent, *others, OutputAudioRawFrame(loud, 8_000, 1)])
    audio = [frame.audio for frame in down if isinstance(frame, InputAudioRawFrame | OutputAudioRawFrame)]
    assert audio == [np.full(80, 1, "<i2").tobytes(), silent, loud, loud, loud]
    assert down[1] is sent[1]
    assert logged.text.count("Half expects mono audio at 8000 Hz") == 1


def test_the_base_class_cannot_be_used_alone() -> None:
    with pytest.raises(TypeError):
        CallerFilter()  # type: ignore[abstract]
