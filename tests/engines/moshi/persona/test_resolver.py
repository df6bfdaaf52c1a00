from __future__ import annotations

from pathlib import Path

import pytest
from sentencepiece import SentencePieceProcessor

from moshi_phone.commands.random_model import write_tiny_tokenizer
from moshi_phone.engines.duplex import CallOverrides, EngineUnavailable, RequestRefused
from moshi_phone.engines.moshi.model.detokenizer import PADDING_TOKEN
from moshi_phone.engines.moshi.model.forced_text import MAX_WORDS
from moshi_phone.engines.moshi.model.sampling import MoshiSampling, Sampling
from moshi_phone.engines.moshi.model.token_history import PrefixFrame
from moshi_phone.engines.moshi.persona.resolver import (
    PERSONA_LIMIT_TOKENS,
    Greeting,
    RecordedGreetings,
    RequestResolver,
)
from moshi_phone.engines.moshi.persona.voices import Voices
from moshi_phone.engines.options import NONE, SILENCE, SPEECH, EngineOptions

SAMPLING = MoshiSampling(Sampling(0.7, 25), Sampling(0.8, 250))
FRAME = PrefixFrame(PADDING_TOKEN, None)  # type: ignore[arg-type] # unused
RECORDED = RecordedGreetings((FRAME,) * 2, (FRAME,) * 3)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> SentencePieceProcessor:
    path = tmp_path_factory.mktemp("tokenizer") / "tiny.model"
    write_tiny_tokenizer(path, 100)
    return SentencePieceProcessor(str(path))


@pytest.fixture
def voices(tmp_path: Path) -> Voices:
    for name in ("NATF2", "NATM0"):
        (tmp_path / f"{name}.pt").touch()
    return Voices(tmp_path)


def test_moshi_accepts_no_persona(tokenizer: SentencePieceProcessor) -> None:
    resolver = RequestResolver(EngineOptions(), SAMPLING, tokenizer, None)
    assert resolver.supported_overrides == {"greeting", "temperature"}
    assert resolver.voices == []
    assert resolver.role(CallOverrides(persona="You are Anna.")) is None


def test_a_request_overrides_the_options_and_these_override_nvidia_s_default(
    tokenizer: SentencePieceProcessor, voices: Voices
) -> None:
    resolver = RequestResolver(EngineOptions(persona="badi"), SAMPLING, tokenizer, voices)
    assert resolver.supported_overrides == {"greeting", "temperature", "persona", "voice"}
    default = resolver.default
    assert default is not None
    assert default.voice == "NATF2"
    asked = resolver.role(CallOverrides(persona="gulo", voice="NATM0"))
    assert asked is not None
    assert asked.voice == "NATM0"
    assert asked.prompt_tokens != default.prompt_tokens
    assert resolver.role(CallOverrides()) == default


def test_system_tags_are_added_once(tokenizer: SentencePieceProcessor, voices: Voices) -> None:
    resolver = RequestResolver(EngineOptions(), SAMPLING, tokenizer, voices)
    assert resolver.prompt_tokens(" badi ") == resolver.prompt_tokens("<system> badi <system>")
    assert resolver.prompt_tokens("<system>") != resolver.prompt_tokens("<system> <system>")


def test_invalid_requests_are_refused_and_invalid_options_prevent_the_start(
    tokenizer: SentencePieceProcessor, voices: Voices
) -> None:
    resolver = RequestResolver(EngineOptions(), SAMPLING, tokenizer, voices)
    with pytest.raises(RequestRefused, match=f"expected at most {PERSONA_LIMIT_TOKENS}"):
        resolver.role(CallOverrides(persona="badi " * PERSONA_LIMIT_TOKENS))
    with pytest.raises(RequestRefused, match="got half a surrogate pair"):  # JSON can spell it
        resolver.role(CallOverrides(persona="Anna \ud83d"))
    with pytest.raises(RequestRefused, match="got half a surrogate pair"):
        resolver.greeting(CallOverrides(greeting="Hi \ud83d"), None, RECORDED)
    with pytest.raises(RequestRefused, match="There is no voice 'NATM3'"):
        resolver.role(CallOverrides(voice="NATM3"))
    with pytest.raises(EngineUnavailable, match="There is no voice 'NATM3'"):
        RequestResolver.at_start(EngineOptions(voice="NATM3"), SAMPLING, tokenizer, voices)


def test_a_requested_temperature_applies_to_text_and_audio_only(
    tokenizer: SentencePieceProcessor,
) -> None:
    resolver = RequestResolver(EngineOptions(), SAMPLING, tokenizer, None)
    assert resolver.sampling(CallOverrides()) is SAMPLING
    drawn = resolver.sampling(CallOverrides(temperature=0.3))
    assert (drawn.text, drawn.audio) == (Sampling(0.3, 25), Sampling(0.3, 250))


@pytest.mark.parametrize(
    ("option", "request_", "expected"),
    [
        (SPEECH, None, Greeting(RECORDED.default)),
        (SPEECH, SILENCE, Greeting(RECORDED.silence)),
        (SPEECH, NONE, Greeting()),
        (NONE, SPEECH, Greeting()),  # it was not recorded
        ("badi", "badi", Greeting(RECORDED.default)),
        ("badi", "gulo", Greeting(words="gulo")),
    ],
)
def test_the_greeting_of_a_call(
    tokenizer: SentencePieceProcessor, option: str, request_: str | None, expected: Greeting
) -> None:
    resolver = RequestResolver(EngineOptions(greeting=option), SAMPLING, tokenizer, None)
    assert resolver.greeting(CallOverrides(greeting=request_), resolver.default, RECORDED) == expected


def test_another_persona_does_not_use_the_default_s_greeting(
    tokenizer: SentencePieceProcessor, voices: Voices
) -> None:
    resolver = RequestResolver(EngineOptions(), SAMPLING, tokenizer, voices)
    request = CallOverrides(persona="gulo")
    assert resolver.greeting(request, resolver.role(request), RECORDED) == Greeting()


def test_a_greeting_without_words_is_refused(tokenizer: SentencePieceProcessor) -> None:
    resolver = RequestResolver(EngineOptions(), SAMPLING, tokenizer, None)
    with pytest.raises(RequestRefused, match="The greeting cannot be said"):
        resolver.greeting(CallOverrides(greeting="()"), None, RECORDED)
    with pytest.raises(RequestRefused, match=f"at most {MAX_WORDS} words"):
        resolver.greeting(CallOverrides(greeting="ba " * (MAX_WORDS + 1)), None, RECORDED)
