"""The query of a call's settings for each kind of server."""

from __future__ import annotations

import re

import pytest

from moshi_phone.engines.duplex import CallOverrides, EngineUnavailable
from moshi_phone.engines.remote.query import (
    RemoteCallSettings,
    make_query,
    silent_frames,
    supported_overrides,
    unsupported_settings,
)
from moshi_phone.engines.remote.server_profile import PROFILES
from moshi_phone.engines.voices import PERSONAPLEX_PERSONA, PERSONAPLEX_VOICES

KYUTAI, RUST, PERSONAPLEX = (PROFILES[kind] for kind in ("kyutai", "rust", "personaplex"))
SAMPLING = (
    ("text_temperature", 0.7),
    ("text_top_k", 25),
    ("audio_temperature", 0.8),
    ("audio_top_k", 250),
    ("max_steps", 4500),
)


def test_kyutai_s_python_server_gets_no_query() -> None:
    assert make_query(RemoteCallSettings("You are Anna", sampling=SAMPLING, seed=3), KYUTAI) == {}


def test_the_rust_backend_gets_sampling_and_seeds() -> None:
    assert make_query(RemoteCallSettings(sampling=SAMPLING, seed=3), RUST) == {
        "text_temperature": "0.7",
        "text_topk": "25",
        "audio_temperature": "0.8",
        "audio_topk": "250",
        "max_steps": "4500",
        "text_seed": "3",
        "audio_seed": "3",
    }


def test_a_top_k_of_zero_is_not_sent() -> None:
    assert make_query(RemoteCallSettings(sampling=(("text_top_k", 0), ("text_temperature", 0))), RUST) == {
        "text_temperature": "0"
    }


@pytest.mark.parametrize("persona", ["", "   ", "\n"])
def test_personaplex_always_gets_both_prompts_and_never_an_empty_one(persona: str) -> None:
    query = make_query(RemoteCallSettings(persona, greeting="none"), PERSONAPLEX)
    assert query == {"text_prompt": PERSONAPLEX_PERSONA, "voice_prompt": "NATF2.pt"}


def test_personaplex_never_gets_a_seed() -> None:
    query = make_query(
        RemoteCallSettings("You are Anna.", "VARM4", "none", sampling=SAMPLING, seed=3), PERSONAPLEX
    )
    assert query == {"text_prompt": "You are Anna.", "voice_prompt": "VARM4.pt"}


def test_personaplex_greets_by_its_prompt() -> None:
    requested = RemoteCallSettings("You are Anna.")
    assert (
        make_query(requested, PERSONAPLEX)["text_prompt"]
        == "You are Anna. You speak first and greet the caller."
    )
    words = requested.with_request(CallOverrides(greeting="Hello,\n this is Anna."))
    assert make_query(words, PERSONAPLEX)["text_prompt"] == (
        'You are Anna. You speak first and say: "Hello, this is Anna."'
    )
    assert silent_frames(requested, PERSONAPLEX, 25) == 0


def test_other_servers_greet_because_they_hear_silence_first() -> None:
    for profile in (KYUTAI, RUST):
        assert silent_frames(RemoteCallSettings(greeting="speech"), profile, 25) == 25
        assert silent_frames(RemoteCallSettings(greeting="silence"), profile, 25) == 0
        assert silent_frames(RemoteCallSettings(greeting="none"), profile, 25) == 0


def test_there_are_18_voices_and_a_path_is_not_a_voice() -> None:
    assert len(PERSONAPLEX_VOICES) == 18
    assert all(re.fullmatch(r"(NAT[FM][0-3])|(VAR[FM][0-4])", voice) for voice in PERSONAPLEX_VOICES)
    for bad in ("../../etc/passwd", "NATF2.pt", "NATF9", "natf2", "/tmp/voice", "moshiko"):  # noqa: S108
        with pytest.raises(EngineUnavailable, match="has no voice"):
            make_query(RemoteCallSettings(voice=bad), PERSONAPLEX)


def test_a_persona_that_does_not_fit_into_a_url_is_refused() -> None:
    make_query(RemoteCallSettings("x" * 5000), PERSONAPLEX)
    with pytest.raises(EngineUnavailable, match="expected at most 6000 bytes in its URL"):
        make_query(RemoteCallSettings("x" * 6000), PERSONAPLEX)
    with pytest.raises(EngineUnavailable, match="too long"):
        make_query(RemoteCallSettings("é" * 1100), PERSONAPLEX)  # six bytes each, in a URL


def test_unsupported_settings_are_named() -> None:
    requested = RemoteCallSettings("You are Anna.", greeting="silence")
    (sentence,) = unsupported_settings(requested, PERSONAPLEX)
    assert "--greeting silence" in sentence
    assert PERSONAPLEX.title in sentence
    assert len(unsupported_settings(requested, KYUTAI)) == 2
    voice, words = unsupported_settings(RemoteCallSettings(voice="moshika", greeting_words="Hello."), RUST)
    assert ("--voice" in voice, "given words" in words) == (True, True)
    assert unsupported_settings(RemoteCallSettings(), KYUTAI) == []


def test_a_call_may_request_supported_settings() -> None:
    assert supported_overrides(KYUTAI) == frozenset()
    assert supported_overrides(RUST) == {"temperature"}
    assert supported_overrides(PERSONAPLEX) == {"persona", "voice", "greeting"}
    requested = RemoteCallSettings("You are Anna.", "NATF0", sampling=SAMPLING)
    assert requested.with_request(CallOverrides()) == requested
    asked = requested.with_request(CallOverrides("You are Ben.", "NATM0", temperature=0.5))
    assert make_query(asked, PERSONAPLEX)["voice_prompt"] == "NATM0.pt"
    assert make_query(asked, PERSONAPLEX)["text_prompt"].startswith("You are Ben.")
    assert make_query(asked, RUST)["audio_temperature"] == "0.5"
