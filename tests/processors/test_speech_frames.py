from __future__ import annotations

import numpy as np
import pytest
from pipecat.frames.frames import SpeechOutputAudioRawFrame, TTSStartedFrame, TTSStoppedFrame

from processors.speech_frames import SPEECH_PAUSE_S, SpeechFrames

LOUD, SILENT = np.full(1_920, 0.25, np.float32), np.zeros(1_920, np.float32)
PAUSE_FRAMES = round(SPEECH_PAUSE_S / 0.08)


def test_frames_enclose_the_speech() -> None:
    speech = SpeechFrames()
    (silence,) = speech.of_audio(SILENT)
    assert isinstance(silence, SpeechOutputAudioRawFrame)
    assert (silence.audio, silence.sample_rate, silence.num_channels) == (bytes(3_840), 24_000, 1)
    started, audio = speech.of_audio(LOUD)
    assert isinstance(started, TTSStartedFrame)
    assert not started.append_to_context
    assert isinstance(audio, SpeechOutputAudioRawFrame)
    assert set(np.frombuffer(audio.audio, "<i2")) == {8_192}
    for _ in range(PAUSE_FRAMES - 1):
        assert len(list(speech.of_audio(SILENT))) == 1
    assert speech.is_speaking
    _, stopped = speech.of_audio(SILENT)
    assert isinstance(stopped, TTSStoppedFrame)
    assert not speech.is_speaking


def test_open_speech_ends_with_the_call_once() -> None:
    speech = SpeechFrames()
    assert not list(speech.finish())
    list(speech.of_audio(LOUD))
    assert [type(frame) for frame in speech.finish()] == [TTSStoppedFrame]
    assert not list(speech.finish())


@pytest.mark.parametrize(
    ("audio", "actual"),
    [(np.zeros(1000, np.float32), r"float32 \[1000\]"), (np.zeros(1920, np.int16), r"int16 \[1920\]")],
)
def test_audio_of_another_shape_or_type_is_rejected(audio: np.ndarray, actual: str) -> None:
    with pytest.raises(ValueError, match=rf"expected float32 \[1920\] in DuplexStep.pcm, got {actual}"):
        list(SpeechFrames().of_audio(audio))
