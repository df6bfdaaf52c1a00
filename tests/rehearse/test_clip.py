from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from moshi_phone.audio import g711, pcm
from moshi_phone.rehearse.clip import CALLER_FILE, ClipUnusable, caller_speech


def test_the_embedded_clip_fills_the_call_except_for_its_ends() -> None:
    mulaw = caller_speech(CALLER_FILE, 20.0)
    said = pcm.to_float(g711.decode(mulaw))
    assert len(mulaw) == 160_000
    assert not said[:4000].any()
    assert not said[-8000:].any()
    assert 0.3 < np.abs(said).max() < 0.9
    assert np.abs(said[-24_000:-8000]).max() > 0.1


def test_any_rate_and_any_number_of_channels(tmp_path: Path) -> None:
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(44_100) / 44_100)
    soundfile.write(tmp_path / "tone.wav", np.stack((tone, tone), axis=1), 44_100)
    said = pcm.to_float(g711.decode(caller_speech(tmp_path / "tone.wav", 2.0)))
    spectrum = np.abs(np.fft.rfft(said[4000:8000]))
    assert np.argmax(spectrum) * 2 == pytest.approx(440, abs=2)


def test_a_file_that_cannot_be_played_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClipUnusable, match=r"Cannot play .*nothing\.wav"):
        caller_speech(tmp_path / "nothing.wav", 5.0)
    soundfile.write(tmp_path / "silent.wav", np.zeros(8000), 8000)
    with pytest.raises(ClipUnusable, match="is silent"):
        caller_speech(tmp_path / "silent.wav", 5.0)
