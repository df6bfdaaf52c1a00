"""Moshi's greeting: generated once, trimmed, and stored as tokens.

A greeting is Moshi's own voice, generated once at start-up from a silent caller. A call's session steps
with these tokens forced, one frame for each of the caller's, so the greeting is played in real time, the
model hears itself say it and hears the caller meanwhile, and no delay remains.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from sentencepiece import SentencePieceProcessor

from moshi_phone.audio.formats import FRAME_SAMPLES
from moshi_phone.audio.silence import SILENT_FRAME, is_silent
from moshi_phone.engines.duplex import EngineUnavailable, Progress
from moshi_phone.engines.moshi.codec.call_codecs import CallCodecs
from moshi_phone.engines.moshi.codec.codec import CODEBOOKS
from moshi_phone.engines.moshi.codec.stream_codecs import Encoder
from moshi_phone.engines.moshi.model.detokenizer import SPECIAL_TOKENS
from moshi_phone.engines.moshi.model.forced_text import ForcedTextScheduler, word_starts, words_of
from moshi_phone.engines.moshi.model.language_model import LanguageSession, LanguageStep
from moshi_phone.engines.moshi.model.ring_kv_cache import Snapshot
from moshi_phone.engines.moshi.model.sampling import MoshiSampling
from moshi_phone.engines.moshi.model.token_history import (
    NO_PREFIX,
    ForcedPrefix,
    PrefixFrame,
    Tokens,
    silent_prefix,
)
from moshi_phone.engines.moshi.persona.resolver import RecordedGreetings
from moshi_phone.engines.options import NONE, SILENCE, SPEECH, EngineOptions
from moshi_phone.vendor.moshi_mlx.models.lm import Lm

SPEECH_FRAMES = 3  # a take with fewer audible frames is a click or a breath, not a greeting
# Mimi's tokens of silence differ in its first frames, because its convolutions have no history yet
SETTLING_FRAMES = 3
MAX_GREETING_FRAMES = 750  # a minute; a longer text is not a greeting
TAKES = 8  # this many takes without speech have another cause


@dataclass(frozen=True)
class Take:
    """One attempt at a greeting.

    Attributes:
        prefix: its tokens.
        pcm: its audio, float32 ``[frames, 1920]``, 24 kHz.
    """

    prefix: ForcedPrefix
    pcm: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Check that tokens and audio have the same length."""
        if self.pcm.shape != (len(self.prefix), FRAME_SAMPLES):
            raise ValueError(f"expected [{len(self.prefix)}, {FRAME_SAMPLES}], got {list(self.pcm.shape)}")


def trim(take: Take) -> ForcedPrefix | None:
    """Trim leading silence to one frame; None if the take has no speech.

    A word's text token precedes its audio, so the cut never removes it.
    """
    audible = [place for place, pcm in enumerate(take.pcm) if not is_silent(pcm)]
    worded = [place for place, frame in enumerate(take.prefix) if frame.text_token not in SPECIAL_TOKENS]
    if len(audible) < SPEECH_FRAMES or not worded:
        return None
    # A frame of silence stays, so that the first sound is not clipped.
    return take.prefix[min(max(audible[0] - 1, 0), worded[0]) :]


def make_greeting(make_take: Callable[[int], Take], seed: int, progress: Progress) -> ForcedPrefix:
    """Generate takes, each with the next seed, until one contains speech.

    Args:
        make_take: generates a take from a seed; the same seed gives the same take.
        seed: seed of the first take.
        progress: receives a line for each discarded take.
    """
    for attempt in range(TAKES):
        opening = trim(make_take(seed + attempt))
        if opening is not None:
            return opening
        progress(f"The greeting with seed {seed + attempt} has no speech in it; making another.")
    progress(f"No greeting in {TAKES} takes has speech in it: calls begin without one.")
    return NO_PREFIX


def silence_tokens(codecs: CallCodecs) -> Tokens:
    """Return Mimi's tokens of silence in its steady state, uint32 ``[8]``."""
    encoder = Encoder(codecs.encoders)
    try:
        return [encoder.encode(SILENT_FRAME) for _ in range(SETTLING_FRAMES)][-1][:CODEBOOKS]
    finally:
        encoder.release()


def record_words(
    session: LanguageSession,
    scheduler: ForcedTextScheduler,
    silence: Tokens,
    *,
    before_frame: Callable[[], None] = lambda: None,
) -> ForcedPrefix:
    """Let the model say given words to a silent caller. Runs in the model's thread.

    Args:
        session: a conversation that has not begun; it is closed.
        scheduler: contains the words.
        silence: uint32 ``[8]``, the silent caller.
        before_frame: called before each frame; its exceptions end the take.

    Returns:
        All frames from shortly before the first word to shortly after the last.
    """
    frames: list[PrefixFrame] = []
    try:
        while not scheduler.done and len(frames) < MAX_GREETING_FRAMES:
            before_frame()
            step = session.step(silence, steer=scheduler.decide)
            if step.audio_tokens is not None:
                frames.append(PrefixFrame(step.text_token, step.audio_tokens))
    finally:
        session.close()
    return tuple(frames)


def record(
    model: Lm,
    sampling: MoshiSampling,
    codecs: CallCodecs,
    frames: int,
    seed: int,
    *,
    before_frame: Callable[[], None] = lambda: None,
) -> Take:
    """Let the model talk to a silent caller. Runs in the model's thread.

    Args:
        model: the model whose voice is recorded.
        sampling: of its tokens.
        codecs: lend the take's two codecs.
        frames: length of the take.
        seed: of the sampling.
        before_frame: called before each frame; its exceptions end the take.
    """
    encoder, decoder = codecs.take()
    session = LanguageSession(model, sampling, seed)

    def step() -> LanguageStep:
        before_frame()
        return session.step(encoder.encode(SILENT_FRAME)[:CODEBOOKS])

    try:
        steps = [step() for _ in range(frames)]
        # Models whose codebooks are delayed by more than a frame have no sound in their first steps.
        audio = [step.audio_tokens for step in steps if step.audio_tokens is not None]
        pcm = np.stack([decoder.decode(tokens) for tokens in audio])
    finally:
        session.close()
        encoder.release()
        decoder.release()
    texts = [step.text_token for step in steps[: len(audio)]]
    return Take(tuple(map(PrefixFrame, texts, audio)), pcm)


WARM_UP_FRAMES = 3  # without a greeting, whose recording would also warm up


@dataclass(frozen=True)
class GreetingRecorder:
    """Records greetings in the model's thread.

    Attributes:
        options: select the greeting, its length and its seed.
        model: the model whose voice is recorded.
        sampling: of its tokens.
        codecs: for silence, and for the detection of speech in a take.
        tokenizer: tokenizes words.
        go_on: called before each frame; its exceptions end the recording.
    """

    options: EngineOptions
    model: Lm
    sampling: MoshiSampling
    codecs: CallCodecs
    tokenizer: SentencePieceProcessor
    go_on: Callable[[], None]

    def record(self, start: Snapshot | None, progress: Progress) -> RecordedGreetings:
        """Record the greeting of the options, and as much silence.

        Args:
            start: the model's state after the default persona; None without one.
            progress: receives progress lines.

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
        take(
            WARM_UP_FRAMES, seed
        )  # discarded: it compiles the step, which the first call would wait for otherwise
        if greeting in (SPEECH, SILENCE, NONE):  # with a persona, the greeting starts after it
            return NO_PREFIX
        scheduler = ForcedTextScheduler(word_starts(self.tokenizer))
        try:
            scheduler.say(words_of(greeting, self.tokenizer))
        except ValueError as error:
            raise EngineUnavailable(f"--greeting cannot be said: {error}.") from error
        progress("Moshi says its greeting once, to be ready with it.")
        session = LanguageSession(self.model, self.sampling, seed, start=start)
        return record_words(session, scheduler, silence, before_frame=self.go_on)
