"""records/levels.py: both voices' peak levels, for recordings of any length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from moshi_phone.records.levels import BARS, read_levels


def test_both_voices_of_an_hour(tmp_path: Path) -> None:
    path, both = tmp_path / "a.wav", np.zeros((8_000 * 3_600, 2), np.int16)
    both[: 8_000 * 6, 0], both[-1, 1] = -32_768, 129  # -48 dB
    soundfile.write(path, both, 8_000, subtype="PCM_16")
    levels = read_levels(path)
    assert (levels.secs, len(levels.caller)) == (3_600.0, BARS)
    assert levels.caller[:2] == [100, 0]
    assert levels.bot[-1] == 0 == max(levels.bot), "what is too soft to be seen has no bar"


def test_short_and_mono_recordings_and_files_that_are_not_audio(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.full(90, 16_384, np.int16), 8_000, subtype="PCM_16")
    levels = read_levels(path)
    assert (levels.caller, levels.bot) == ([87, 87], [])
    soundfile.write(path, np.zeros((0, 2), np.int16), 8_000, subtype="PCM_16")
    assert read_levels(path).caller == []
    soundfile.write(path, np.zeros(80, np.int16), 8_000, subtype="PCM_24")
    with pytest.raises(ValueError, match="no recording of 16 bits"):
        read_levels(path)
    for content in (b"", b"RIFF", b"no wave " * 20):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is no WAV file"):
            read_levels(path)
