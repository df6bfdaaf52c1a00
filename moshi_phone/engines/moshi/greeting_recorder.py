"""Makes, once, what calls open with; it warms the model and the codecs up as well."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from moshi_mlx.models.lm import Lm
from sentencepiece import SentencePieceProcessor

from moshi_phone.engines.duplex import EngineUnavailable, Progress
from moshi_phone.engines.moshi.codec.call_codecs import CallCodecs
from moshi_phone.engines.moshi.greeting import make_greeting, record, record_words, silence_tokens
from moshi_phone.engines.moshi.model.forced_prefix import NO_PREFIX, ForcedPrefix, silent_prefix
from moshi_phone.engines.moshi.model.forced_text import Steering, word_starts, words_of
from moshi_phone.engines.moshi.model.language_model import LanguageSession
from moshi_phone.engines.moshi.model.sampling import MoshiSampling
from moshi_phone.engines.moshi.model.snapshot import Snapshot
from moshi_phone.engines.moshi.model.token_history import Tokens
from moshi_phone.engines.moshi.persona.resolver import RecordedGreetings
from moshi_phone.engines.options import NONE, SILENCE, SPEECH, EngineOptions

WARM_UP_FRAMES = 3  # where no greeting is made, which warms up as well


@dataclass(frozen=True)
class GreetingRecorder:
    """Records greetings in the model's thread.

    Attributes:
        options: say which greeting, how long, and from which seed.
        model: whose voice it is.
        sampling: how its tokens are drawn.
        codecs: for silence, and for hearing whether there is speech in a take.
        tokenizer: spells words.
        go_on: called before each frame; what it raises ends the recording.
    """

    options: EngineOptions
    model: Lm
    sampling: MoshiSampling
    codecs: CallCodecs
    tokenizer: SentencePieceProcessor
    go_on: Callable[[], None]

    def record(self, start: Snapshot | None, progress: Progress) -> RecordedGreetings:
        """Record what the options ask for, and as much silence.

        Args:
            start: what the default persona left in the model; None where there is none.
            progress: hears what is done.

        Raises:
            EngineUnavailable: when the greeting's words cannot be said.
        """
        silence = silence_tokens(self.codecs)
        silent = silent_prefix(self.options.greeting_frames, silence)
        default = self._default(start, silence, progress)
        return RecordedGreetings(silent if self.options.greeting == SILENCE else default, silent)

    def _default(self, start: Snapshot | None, silence: Tokens, progress: Progress) -> ForcedPrefix:
        frames, seed, greeting = self.options.greeting_frames, self.options.seed, self.options.greeting
        if seed is None:
            seed = secrets.randbits(31)
        take = partial(record, self.model, self.sampling, self.codecs, before_frame=self.go_on)
        if greeting == SPEECH and start is None:
            return make_greeting(partial(take, frames), seed, progress)
        take(WARM_UP_FRAMES, seed)  # thrown away: it compiles what the first call would have to wait for
        if greeting in (SPEECH, SILENCE, NONE):  # who has a persona begins by it
            return NO_PREFIX
        steering = Steering(word_starts(self.tokenizer))
        try:
            steering.say(words_of(greeting, self.tokenizer))
        except ValueError as error:
            raise EngineUnavailable(f"--greeting cannot be said: {error}.") from error
        progress("Moshi says its greeting once, to be ready with it.")
        session = LanguageSession(self.model, self.sampling, seed, start=start)
        return record_words(session, steering, silence, before_frame=self.go_on)
