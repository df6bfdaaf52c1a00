from __future__ import annotations

import numpy as np
import pytest
from pipecat.frames.frames import InputAudioRawFrame

from moshi_phone.audio.formats import FRAME_SAMPLES, SAMPLE_RATE_HZ
from processors.caller_blocks import CallerBlocks
from tests.support.logs import Logged


def frame(samples: int, rate_hz: int = SAMPLE_RATE_HZ) -> InputAudioRawFrame:
    audio = np.arange(samples, dtype="<i2").tobytes()
    return InputAudioRawFrame(audio, rate_hz, num_channels=1)


@pytest.mark.parametrize("pieces", [[1920, 1920], [3840], [480] * 8, [1000, 1000, 1840], [1919, 1, 1920]])
def test_input_of_any_length_gives_whole_blocks_in_order(pieces: list[int]) -> None:
    blocks, sent, out = CallerBlocks(), 0, []
    for samples in pieces:
        audio = np.arange(sent, sent + samples, dtype="<i2").tobytes()
        out += list(blocks.cut(InputAudioRawFrame(audio, SAMPLE_RATE_HZ, num_channels=1)))
        sent += samples
    assert [block.shape for block in out] == [(FRAME_SAMPLES,)] * 2
    np.testing.assert_array_equal(np.round(np.concatenate(out) * 32768), np.arange(3840))
    assert blocks.resampling_ms == 0


def test_another_rate_is_resampled_with_its_delay_and_one_warning(logged: Logged) -> None:
    blocks = CallerBlocks()
    out = [block for _ in range(5) for block in blocks.cut(frame(1280, 16_000))]
    assert len(out) in (4, 5)
    assert blocks.resampling_ms > 0
    assert logged.text.count("Resampler(16000, 24000)") == 1
