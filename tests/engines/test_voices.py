from __future__ import annotations

from moshi_phone.engines.voices import (
    PERSONAPLEX_VOICE,
    PERSONAPLEX_VOICES,
    VOICE_NAME,
    is_file,
    needs_personaplex,
)


def test_nvidia_publishes_18_voices() -> None:
    assert len(set(PERSONAPLEX_VOICES)) == 18
    assert PERSONAPLEX_VOICE in PERSONAPLEX_VOICES


def test_voices_of_personaplex_are_recognized() -> None:
    assert needs_personaplex("NATF2")
    assert needs_personaplex("anna.wav")
    assert not any(needs_personaplex(voice) for voice in ("", "moshiko", "moshika"))


def test_a_file_is_recognized_by_its_extension() -> None:
    assert is_file("voices/anna.pt")
    assert not is_file("anna")


def test_a_name_cannot_lead_to_another_folder() -> None:
    assert VOICE_NAME.fullmatch("NATF2")
    assert not any(VOICE_NAME.fullmatch(name) for name in ("", "../x", "a/b", "a.pt", "a" * 65))
