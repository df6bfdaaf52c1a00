"""What one call's request means for Moshi: whose voice, which prompt, which first words, how it draws."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sentencepiece import SentencePieceProcessor

from moshi_phone.engines.duplex import NO_OVERRIDES, CallOverrides, EngineUnavailable, RequestRefused
from moshi_phone.engines.moshi.model.forced_text import MAX_WORDS, check_whole, words_of
from moshi_phone.engines.moshi.model.sampling import MoshiSampling, Sampling
from moshi_phone.engines.moshi.model.token_history import NO_PREFIX, ForcedPrefix
from moshi_phone.engines.moshi.persona.prompt_cache import PersonaPrompt
from moshi_phone.engines.moshi.persona.voice import VoiceUnfit
from moshi_phone.engines.moshi.persona.voices import Voices
from moshi_phone.engines.options import NONE, SILENCE, SPEECH, EngineOptions
from moshi_phone.engines.voices import PERSONAPLEX_PERSONA, PERSONAPLEX_VOICE, is_file

PERSONA_LIMIT_TOKENS = 500
"""Each costs a frame of 3,000 that the model remembers, and half a megabyte for each state that is kept."""

_SYSTEM = "<system>"


@dataclass(frozen=True)
class Greeting:
    """How a call opens.

    Attributes:
        prefix: what is forced, recorded at the start of the program.
        words: what is said after it, chosen words at moments of the model's own; may be empty.
    """

    prefix: ForcedPrefix = NO_PREFIX
    words: str = ""


@dataclass(frozen=True)
class RecordedGreetings:
    """What was made at the start of the program.

    Attributes:
        default: as the options have it, in the default's voice.
        silence: as long, and silent.
    """

    default: ForcedPrefix = NO_PREFIX
    silence: ForcedPrefix = NO_PREFIX


class RequestResolver:
    """Reads requests.

    Args:
        options: what a request leaves out.
        sampling: how tokens are drawn for a call that asks for nothing else.
        tokenizer: of the model.
        voices: those that are here; None where the model takes no persona.
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
        # Resolved at the start: an unfit default must not wait for the first caller.
        self.default = self.role(NO_OVERRIDES)

    @classmethod
    def at_start(
        cls,
        options: EngineOptions,
        sampling: MoshiSampling,
        tokenizer: SentencePieceProcessor,
        voices: Voices | None,
    ) -> RequestResolver:
        """Make it while the engine starts.

        Raises:
            EngineUnavailable: when the options ask for what there is not.
        """
        try:
            return cls(options, sampling, tokenizer, voices)
        except RequestRefused as refusal:
            raise EngineUnavailable(str(refusal)) from refusal

    @property
    def supported_overrides(self) -> frozenset[str]:
        """Fields of a ``CallOverrides`` that the model supports."""
        beyond = {"persona", "voice"} if self._voices is not None else set[str]()
        return frozenset({"greeting", "temperature"} | beyond)

    @property
    def voices(self) -> list[str]:
        """The voices that a call may ask for by name."""
        return [] if self._voices is None else self._voices.names

    def role(self, request: CallOverrides) -> PersonaPrompt | None:
        """Say who answers; None where the model takes no persona.

        Raises:
            RequestRefused: when the persona is too long, or there is no such voice.
        """
        if self._voices is None:
            return None
        persona = self._options.persona if request.persona is None else request.persona
        return PersonaPrompt(
            self._voice(request, self._voices), self.prompt_tokens(persona or PERSONAPLEX_PERSONA)
        )

    def prompt_tokens(self, persona: str) -> tuple[int, ...]:
        """Spell a persona as PersonaPlex learned it: with the word ``<system>`` on both sides.

        Raises:
            RequestRefused: when it is too long.
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
        """Say how this call's tokens are drawn."""
        if request.temperature is None:
            return self._sampling
        text, audio = (
            Sampling(request.temperature, one.top_k) for one in (self._sampling.text, self._sampling.audio)
        )
        return replace(self._sampling, text=text, audio=audio)

    def greeting(
        self, request: CallOverrides, role: PersonaPrompt | None, recorded: RecordedGreetings
    ) -> Greeting:
        """Say how this call opens.

        Args:
            request: the call's own.
            role: of this call, as ``role`` gave it.
            recorded: what was made at the start of the program.

        Raises:
            RequestRefused: when there is nothing to say in the words, or too much.
        """
        wanted = self._options.greeting if request.greeting is None else request.greeting
        if wanted == NONE:
            return Greeting()
        if wanted == SILENCE:
            return Greeting(recorded.silence)
        if wanted == self._options.greeting and role == self.default:
            return Greeting(recorded.default)
        if wanted == SPEECH:
            return Greeting()  # who has a persona begins by it
        self._check_words(wanted)
        return Greeting(words=wanted)

    def _check_words(self, greeting: str) -> None:
        try:
            words = len(words_of(greeting, self._tokenizer))
        except ValueError as error:
            raise RequestRefused(f"The greeting cannot be said: {error}.") from error
        if words > MAX_WORDS:  # Steering would refuse them, when the call has its codecs already
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
