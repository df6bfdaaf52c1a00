"""Resolution of a call's request into Moshi's terms: voice, prompt, greeting and sampling."""

from __future__ import annotations

from dataclasses import dataclass

from sentencepiece import SentencePieceProcessor

from moshi_phone.engines.duplex import NO_OVERRIDES, CallOverrides, EngineUnavailable, RequestRefused
from moshi_phone.engines.moshi.model.forced_text import MAX_WORDS, check_whole, words_of
from moshi_phone.engines.moshi.model.sampling import MoshiSampling
from moshi_phone.engines.moshi.model.token_history import NO_PREFIX, ForcedPrefix
from moshi_phone.engines.moshi.persona.prompt_cache import PersonaPrompt
from moshi_phone.engines.moshi.persona.voice import VoiceUnfit
from moshi_phone.engines.moshi.persona.voices import Voices
from moshi_phone.engines.options import NONE, SILENCE, SPEECH, EngineOptions
from moshi_phone.engines.voices import PERSONAPLEX_PERSONA, PERSONAPLEX_VOICE, is_file

PERSONA_LIMIT_TOKENS = 500
"""Each token takes one of 3,000 frames of context, and half a megabyte of each cached state."""

_SYSTEM = "<system>"


@dataclass(frozen=True)
class Greeting:
    """The opening of a call.

    Attributes:
        prefix: forced frames, recorded at startup.
        words: forced text after the prefix, with the model's own timing; may be empty.
    """

    prefix: ForcedPrefix = NO_PREFIX
    words: str = ""


@dataclass(frozen=True)
class RecordedGreetings:
    """Prefixes recorded at startup.

    Attributes:
        default: the options' greeting, in the default voice.
        silence: a silent prefix of the same length.
    """

    default: ForcedPrefix = NO_PREFIX
    silence: ForcedPrefix = NO_PREFIX


class RequestResolver:
    """Resolves requests.

    Args:
        options: defaults for fields that a request omits.
        sampling: default sampling.
        tokenizer: the model's.
        voices: the installed voices; None if the model takes no persona.
    """

    def __init__(
        self,
        options: EngineOptions,
        sampling: MoshiSampling,
        tokenizer: SentencePieceProcessor,
        voices: Voices | None,
    ) -> None:
        self._options = options
        self._sampling = sampling
        self._tokenizer = tokenizer
        self._voices = voices
        # Resolved at startup, so that an unfit default is reported before the first call.
        self.default = self.role(NO_OVERRIDES)

    @classmethod
    def at_start(
        cls,
        options: EngineOptions,
        sampling: MoshiSampling,
        tokenizer: SentencePieceProcessor,
        voices: Voices | None,
    ) -> RequestResolver:
        """Create a resolver during the engine's start.

        Raises:
            EngineUnavailable: when the options name something unavailable.
        """
        try:
            return cls(options, sampling, tokenizer, voices)
        except RequestRefused as refusal:
            raise EngineUnavailable(str(refusal)) from refusal

    @property
    def supported_overrides(self) -> frozenset[str]:
        """The fields of ``CallOverrides`` that the model supports."""
        beyond = {"persona", "voice"} if self._voices is not None else set[str]()
        return frozenset({"greeting", "temperature"} | beyond)

    @property
    def voices(self) -> list[str]:
        """Names of the voices that a request may select."""
        return [] if self._voices is None else self._voices.names

    def role(self, request: CallOverrides) -> PersonaPrompt | None:
        """Return a request's prompt; None if the model takes no persona.

        Raises:
            RequestRefused: when the persona is too long, or the voice does not exist.
        """
        if self._voices is None:
            return None
        persona = self._options.persona if request.persona is None else request.persona
        return PersonaPrompt(
            self._voice(request, self._voices), self.prompt_tokens(persona or PERSONAPLEX_PERSONA)
        )

    def prompt_tokens(self, persona: str) -> tuple[int, ...]:
        """Tokenize a persona in PersonaPlex's training format, between two ``<system>``.

        Raises:
            RequestRefused: when it is too long or is invalid text.
        """
        try:
            check_whole(persona)
        except ValueError as error:
            raise RequestRefused(f"The persona cannot be read: {error}.") from error
        text = persona.strip()
        if not (text.startswith(_SYSTEM) and text.endswith(_SYSTEM) and len(text) > len(_SYSTEM)):
            text = f"{_SYSTEM} {text} {_SYSTEM}"
        tokens = tuple(self._tokenizer.encode(text))
        if len(tokens) > PERSONA_LIMIT_TOKENS:
            raise RequestRefused(
                f"The persona has {len(tokens)} tokens, expected at most {PERSONA_LIMIT_TOKENS}: each takes "
                "one of the frames that the model remembers, and half a megabyte; shorten it."
            )
        return tokens

    def sampling(self, request: CallOverrides) -> MoshiSampling:
        """Return the sampling for a request."""
        if request.temperature is None:
            return self._sampling
        return self._sampling.with_temperature(request.temperature)

    def greeting(
        self, request: CallOverrides, role: PersonaPrompt | None, recorded: RecordedGreetings
    ) -> Greeting:
        """Return the opening of a call.

        Args:
            request: the call's request.
            role: the call's prompt, from ``role``.
            recorded: the prefixes recorded at startup.

        Raises:
            RequestRefused: when the greeting has no words, or too many.
        """
        wanted = self._options.greeting if request.greeting is None else request.greeting
        if wanted == NONE:
            return Greeting()
        if wanted == SILENCE:
            return Greeting(recorded.silence)
        if wanted == self._options.greeting and role == self.default:
            return Greeting(recorded.default)
        if wanted == SPEECH:
            return Greeting()  # the persona determines the first words
        self._check_words(wanted)
        return Greeting(words=wanted)

    def _check_words(self, greeting: str) -> None:
        try:
            words = len(words_of(greeting, self._tokenizer))
        except ValueError as error:
            raise RequestRefused(f"The greeting cannot be said: {error}.") from error
        if words > MAX_WORDS:  # the queue would refuse them too late
            raise RequestRefused(
                f"The greeting has {words:,} words, expected at most {MAX_WORDS} words; shorten it."
            )

    def _voice(self, request: CallOverrides, voices: Voices) -> str:
        voice = request.voice or self._options.voice
        if not voice:
            return PERSONAPLEX_VOICE if PERSONAPLEX_VOICE in voices.names else ""
        try:
            path = voices.find(voice)
        except VoiceUnfit as error:
            raise RequestRefused(str(error)) from error
        return str(path) if is_file(voice) else voice
