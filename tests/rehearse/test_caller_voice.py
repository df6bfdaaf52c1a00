"""A caller's clips: the embedded ones, and errors in a user's folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from moshi_phone.rehearse.caller_voice import KINDS, load_voices
from moshi_phone.rehearse.clip import ClipUnusable
from moshi_phone.rehearse.clips import CLIPS


def test_each_embedded_voice_has_clips_for_every_scene() -> None:
    voices = load_voices(CLIPS)
    assert [voice.name for voice in voices] == ["espeak", "rms", "slt"]
    for voice in voices:
        assert all(voice.of(kind) for kind in KINDS)
        # What lasts longer would stop an engine that stops after 0.3 s of interruption.
        assert all(len(clip.mulaw) <= 0.24 * 8_000 for clip in voice.of("backchannel"))
        assert all(len(clip.mulaw) >= 3 * 8_000 for clip in voice.of("interruption"))


def test_one_folder_is_one_voice(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "hello.wav", np.random.default_rng(1).normal(0, 0.1, 4_410), 44_100)
    (tmp_path / "clips.toml").write_text('[[clip]]\nfile = "hello.wav"\nkind = "question"\nsays = "Hello?"\n')
    (voice,) = load_voices(tmp_path)
    (clip,) = voice.of("question")
    assert len(clip.mulaw) == 800
    assert voice.of("story") == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "There is no clips.toml"),
        ("[[clip", "Cannot read"),
        ("", "expected .*clip.* entries, got none"),
        ('[[clip]]\nkind = "question"\n', "expected file"),
        ('[[clip]]\nfile = "x.wav"\nkind = "shout"\n', "expected a kind of question, open"),
        ('[[clip]]\nfile = "x.wav"\nkind = "question"\n', "Cannot play"),
    ],
)
def test_errors_are_one_sentence(tmp_path: Path, text: str | None, says: str) -> None:
    if text is not None:
        (tmp_path / "clips.toml").write_text(text)
    with pytest.raises(ClipUnusable, match=says):
        load_voices(tmp_path)


def test_a_voice_needs_a_question(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(1).normal(0, 0.1, 8_000), 8_000)
    (tmp_path / "clips.toml").write_text('[[clip]]\nfile = "a.wav"\nkind = "story"\n')
    with pytest.raises(ClipUnusable, match="at least one clip"):
        load_voices(tmp_path)
