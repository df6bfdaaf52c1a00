"""Moshi's language model: shared weights, and one conversation's state in a ``LanguageSession``.

``moshi_mlx`` provides the modules. ``batch_step.py`` steps them in place of its generator, which keeps the KV
cache in the model (calls would share it), ends after a fixed number of steps, evicts the wrong positions
after 4,096, and answers one frame later than necessary.

mlx's streams belong to threads: use everything here in the model's thread only (``model_thread.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import mlx.core as mx
import numpy as np

from moshi_phone.engines.moshi.model.batch_step import Generated, StepRow, generate
from moshi_phone.engines.moshi.model.quantized_model import QUANTIZATIONS, build
from moshi_phone.engines.moshi.model.ring_kv_cache import RingKVCache, Snapshot
from moshi_phone.engines.moshi.model.sampling import MoshiSampling, Noise
from moshi_phone.engines.moshi.model.token_history import NO_PREFIX, ForcedPrefix, TokenHistory, Tokens
from moshi_phone.vendor.moshi_mlx.models.lm import Lm, LmConfig

__all__ = [
    "NO_OVERRIDES",
    "QUANTIZATIONS",
    "LanguageSession",
    "LanguageStep",
    "Overrides",
    "build",
    "check_tokens",
    "new_history",
    "results_or_raise",
    "step_together",
    "try_together",
]


@dataclass(frozen=True)
class LanguageStep:
    """The result of one step.

    Attributes:
        text_token: the inner monologue's token.
        audio_tokens: uint32 ``[8]``: the frame of speech that answers the caller's frame. None only in the
            first steps of models whose codebooks are delayed by more than one frame.
    """

    text_token: int
    audio_tokens: Tokens | None


@dataclass(frozen=True, eq=False)
class Overrides:
    """Forced tokens of one step; all others are drawn.

    Attributes:
        text: the text token; the audio follows it.
        audio: uint32 ``[8]``, Moshi's frame. The model reads it back as its own speech.
        choose_text: maps the drawn text token to the one to feed; the audio follows it. Ignored if
            ``text`` is set.
    """

    text: int | None = None
    audio: Tokens | None = None
    choose_text: Callable[[int], int] | None = None


NO_OVERRIDES = Overrides()


class LanguageSession:
    """One call's conversation with the model, of any length.

    The constructor generates the first position. The caller's frame k is written before position k + 1 is
    generated: the model hears a frame in the step that it arrives with, and that step completes frame k
    of the answer.

    Args:
        model: shared by all sessions.
        sampling: temperatures and top-k of the draws.
        seed: the same seed gives the same draws.
        start: the state after a prompt; None for a conversation without one.
        prefix: forced first frames. Each costs one pass of the main transformer.
        context: number of positions to attend to. The default is the model's; trial runs use fewer.
    """

    def __init__(
        self,
        model: Lm,
        sampling: MoshiSampling,
        seed: int,
        *,
        start: Snapshot | None = None,
        prefix: ForcedPrefix = NO_PREFIX,
        context: int | None = None,
    ) -> None:
        config = model.cfg
        self._model = model
        self._codebooks = config.generated_codebooks
        self._caller_codebooks = config.other_codebooks
        # The audio padding token can be read, but is never drawn.
        self._noise = Noise(
            sampling, seed, config.text_out_vocab_size, config.audio_vocab_size - 1, self._codebooks
        )
        # Forced frame by frame, not all at once: the history is a short ring.
        self._prefix = prefix
        self._rings: list[RingKVCache] | None  # None after close()
        context = context or config.transformer.context
        if start is None:
            self.history = new_history(config)
            self._first = 0
            self._rings = [RingKVCache(context) for _ in model.transformer.layers]
        else:
            self.history = start.history.copy()  # the snapshot is shared by all calls with this persona
            self._first = start.position  # the caller's frames are counted from here
            self._rings = start.caches(context)
        self._position = self._first  # the next to generate; counted only when its step has succeeded
        self._generated: Generated | None = None  # the last step's, for text_logits
        # Position 0 generates part of frame 0: without this, the prefix would lose its first frame.
        self._force(0)
        self._finish(results_or_raise(generate(model, [self._row()]))[0])

    def set_temperature(self, temperature: float) -> None:
        """Draw at this temperature from the next step on. Call it in the model's thread."""
        self._noise.set_temperature(temperature)

    @property
    def frames(self) -> int:
        """Number of the caller's frames heard so far."""
        return self._position - self._first - 1

    @property
    def text_logits(self) -> mx.array | None:
        """The last position's text logits, ``[1, 1, vocabulary]``; None after ``close()``."""
        last = self._generated
        return None if last is None else last.text_logits[last.row : last.row + 1]

    def step(
        self,
        caller_tokens: Tokens,
        *,
        force_text: int | None = None,
        force_audio: Tokens | None = None,
        steer: Callable[[int], int] | None = None,
    ) -> LanguageStep:
        """Process 80 ms of the caller's audio and generate 80 ms: the prefix's frame, or else a drawn one.

        Args:
            caller_tokens: uint32 ``[8]``, the caller's frame.
            force_text: see ``Overrides.text``.
            force_audio: see ``Overrides.audio``.
            steer: see ``Overrides.choose_text``.

        Raises:
            ValueError: when an array has another shape or dtype.
            RuntimeError: after ``close()``.
            FloatingPointError: when the logits are not finite; the cache then stays unusable.
        """
        return step_together([self], [caller_tokens], [Overrides(force_text, force_audio, steer)])[0]

    def close(self) -> None:
        """Free the memory. Safe to call twice, and from ``choose_text`` during a step."""
        self._rings = None
        self._generated = None

    def _hear(self, caller_tokens: Tokens, overrides: Overrides) -> StepRow:
        """Write the caller's frame to the history and build the step's row. Idempotent for one frame."""
        check_tokens("caller_tokens", caller_tokens, self._caller_codebooks)
        frame, time, text = self.frames, self._position - 1, overrides.text
        self.history.hear(time, caller_tokens)
        if frame < len(self._prefix):
            text = self._prefix[frame].text_token
            self._force(frame + 1)
        elif overrides.audio is not None:
            check_tokens("force_audio", overrides.audio, self._codebooks)
            self.history.force(time, overrides.audio)
        return self._row(text, overrides.choose_text)

    def _row(self, text: int | None = None, choose_text: Callable[[int], int] | None = None) -> StepRow:
        if self._rings is None:
            raise RuntimeError("expected an open session, got a closed one")
        return StepRow(self._position, self.history, self._rings, self._noise, text, choose_text)

    def _finish(self, generated: Generated) -> LanguageStep:
        """Record the generated tokens and advance to the next position."""
        position = self._position
        self.history.say(position, generated.tokens)
        if self._rings is not None:  # None if ``choose_text`` closed the session
            self._generated = generated
            for ring in self._rings:
                ring.advance()
        self._position += 1
        return LanguageStep(int(generated.tokens[0]), self.history.spoken(position))

    def _force(self, frame: int) -> None:
        """Force a prefix frame one frame ahead: its first codebook has no delay."""
        if frame < len(self._prefix):
            check_tokens("prefix", self._prefix[frame].audio_tokens, self._codebooks)
            self.history.force(self._first + frame, self._prefix[frame].audio_tokens)


def step_together(
    sessions: Sequence[LanguageSession],
    caller_frames: Sequence[Tokens],
    overrides: Sequence[Overrides] | None = None,
) -> list[LanguageStep]:
    """Step several conversations in one batch: one pass over the model's weights serves all.

    Each result equals that of a step alone. ``try_together`` returns exceptions instead of raising.

    Args:
        sessions: each once.
        caller_frames: uint32 ``[8]`` for each session, the caller's frame.
        overrides: for each session, its forced tokens.

    Raises:
        ValueError, RuntimeError, FloatingPointError: the first failure, as in ``LanguageSession.step``. All
            other sessions have been stepped by then.
    """
    return results_or_raise(try_together(sessions, caller_frames, overrides))


def try_together(
    sessions: Sequence[LanguageSession],
    caller_frames: Sequence[Tokens],
    overrides: Sequence[Overrides] | None = None,
) -> list[LanguageStep | Exception]:
    """Step several conversations in one batch; the result of a failed step is its exception.

    A failed step leaves its session unchanged and does not affect the others.

    Args:
        sessions: each once, all of one model.
        caller_frames: uint32 ``[8]`` for each session, the caller's frame.
        overrides: for each session, its forced tokens.
    """
    if len({id(session) for session in sessions}) < len(sessions):
        raise ValueError("expected each session once in a step")
    results: dict[int, LanguageStep | Exception] = {}
    batches: dict[tuple[int, int], list[tuple[int, StepRow]]] = {}
    given = zip(sessions, caller_frames, overrides or [NO_OVERRIDES] * len(sessions), strict=True)
    for index, (session, frame, override) in enumerate(given):
        try:
            row = session._hear(frame, override)
        except Exception as error:  # for example, the session was closed meanwhile
            results[index] = error
        else:
            # A batch needs equal top-k. All calls of a server have it, so usually there is one batch.
            batches.setdefault(row.noise.choices, []).append((index, row))
    for batch in batches.values():
        model = sessions[batch[0][0]]._model
        for (index, _), made in zip(batch, generate(model, [row for _, row in batch]), strict=True):
            results[index] = made if isinstance(made, Exception) else sessions[index]._finish(made)
    return [results[index] for index in range(len(sessions))]


T = TypeVar("T")


def results_or_raise(results: Sequence[T | Exception]) -> list[T]:
    """Return the results, or raise the first exception among them."""
    for result in results:
        if isinstance(result, Exception):
            raise result
    return list(results)  # type: ignore[arg-type]


def new_history(config: LmConfig) -> TokenHistory:
    """Create an empty token history with the model's delays."""
    return TokenHistory(
        config.audio_delays,
        config.generated_codebooks,
        text_start=config.text_out_vocab_size,
        audio_start=config.audio_padding_token,
    )


def check_tokens(name: str, tokens: Tokens, codebooks: int) -> None:
    """Check that a frame's tokens are uint32 ``[codebooks]``.

    Raises:
        ValueError: names the argument, the expected and the actual shape and dtype.
    """
    if tokens.shape != (codebooks,) or tokens.dtype != np.uint32:
        raise ValueError(f"{name}: expected uint32 [{codebooks}], got {tokens.dtype} {list(tokens.shape)}")
