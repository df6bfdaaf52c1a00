from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    OutputAudioRawFrame,
    SpeechOutputAudioRawFrame,
    TextFrame,
    UserAudioRawFrame,
)

from moshi_phone.audio import g711
from moshi_phone.records.call_audio import CallAudio
from moshi_phone.records.file_writer import FileWriter
from moshi_phone.records.recording import Recording
from processors.frames import MulawInputFrame, MulawOutputFrame
from processors.recorder import Recorder

SAID = np.full(640, 1_000, "<i2")
HEARD = np.full(640, -2_000, "<i2")


def wide(samples: np.ndarray, rate_hz: int, channels: int) -> bytes:
    """Return the same 80 ms at another rate, the channels 500 above and below."""
    at_rate = np.full(rate_hz * 80 // 1000, samples[0], "<i2")
    if channels == 1:
        return at_rate.tobytes()
    return np.stack((at_rate + 500, at_rate - 500), axis=1).astype("<i2").tobytes()


FRAMES: dict[str, tuple[Frame, Frame]] = {
    "µ-law": (MulawInputFrame(g711.encode(SAID.tobytes())), MulawOutputFrame(g711.encode(HEARD.tobytes()))),
    "phone": (
        InputAudioRawFrame(SAID.tobytes(), 8_000, 1),
        OutputAudioRawFrame(HEARD.tobytes(), 8_000, 1),
    ),
    "wide": (
        UserAudioRawFrame(audio=wide(SAID, 16_000, 1), sample_rate=16_000, num_channels=1),
        SpeechOutputAudioRawFrame(wide(HEARD, 24_000, 1), 24_000, 1),
    ),
    "stereo": (
        InputAudioRawFrame(wide(SAID, 48_000, 2), 48_000, 2),
        OutputAudioRawFrame(wide(HEARD, 44_100, 2) + b"?", 44_100, 2),
    ),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_audio_of_any_kind_is_recorded(tmp_path: Path, kind: str) -> None:
    now_s = 0.0
    files = FileWriter()
    recorder = Recorder(CallAudio([Recording(tmp_path / "call.wav", files)], now_s=lambda: now_s))
    said, heard = FRAMES[kind]
    for frame in range(20):
        now_s = (frame + 1) * 0.08
        for seen in (said, TextFrame("not audio"), heard):
            recorder.observe(seen)
    recorder.close()
    assert files.flush(5)
    sides, rate_hz = soundfile.read(tmp_path / "call.wav", dtype="int16")
    assert rate_hz == 8_000
    middle = sides[4_000:8_000]
    assert np.abs(middle - np.array([1_000, -2_000])).max() < 50
