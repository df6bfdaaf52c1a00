from __future__ import annotations

import os
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
import soundfile

from moshi_phone.engines.moshi.codec.codec import Mimi
from moshi_phone.engines.moshi.persona.voice import EmbeddedVoice, SpokenVoice, VoiceUnfit
from moshi_phone.engines.moshi.persona.voice_loader import VoiceLoader, check_voice
from moshi_phone.engines.moshi.persona.voices import Voices

PT = Path(__file__).parents[1] / "data" / "personaplex_voice.pt"


class Codecs:
    """Counts the codecs that were asked for; their tokens are zeros."""

    def __init__(self) -> None:
        self.loaded = 0

    def __call__(self) -> Future[Mimi]:
        self.loaded += 1
        loading: Future[Mimi] = Future()
        loading.set_result(self)  # type: ignore[arg-type]
        return loading

    def encode(self, _: np.ndarray) -> np.ndarray:
        return np.zeros(8, np.uint32)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "anna.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 2 * 8000), 8000)
    return path


def test_the_model_s_own_voice_needs_no_file(tmp_path: Path) -> None:
    assert VoiceLoader(Voices(tmp_path), Codecs())("") is None


def test_a_recording_is_encoded_once_until_it_changes(tmp_path: Path, recording: Path) -> None:
    codecs = Codecs()
    load = VoiceLoader(Voices(tmp_path), codecs)
    voice = load(str(recording))
    assert isinstance(voice, SpokenVoice)
    assert voice.frames == 25
    assert load(str(recording)) is voice
    assert codecs.loaded == 1
    os.utime(recording, (1, 1))
    load(str(recording))
    assert codecs.loaded == 2


def test_nvidia_s_own_need_no_codec(tmp_path: Path) -> None:
    (tmp_path / "NATF2.pt").symlink_to(PT)
    codecs = Codecs()
    load = VoiceLoader(Voices(tmp_path), codecs)
    assert isinstance(load("NATF2"), EmbeddedVoice)
    assert codecs.loaded == 0
    with pytest.raises(VoiceUnfit, match="There is no voice 'NATM0'"):
        load("NATM0")


def test_a_file_is_checked_without_a_model(tmp_path: Path, recording: Path) -> None:
    check_voice(PT)
    check_voice(recording)
    for name in ("bad.pt", "bad.wav"):
        (tmp_path / name).write_bytes(b"neither")
        with pytest.raises(VoiceUnfit):
            check_voice(tmp_path / name)
