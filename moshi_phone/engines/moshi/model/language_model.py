"""Moshi's language model: shared weights, and one conversation's state in a ``LanguageSession``.

``moshi_mlx`` gives the modules; stepping them is done here (``batch_step.py``), because its generator keeps
the KV cache in the model (calls would share it), ends after a fixed number of steps, forgets wrongly after
4,096, and answers one frame later than it could.

mlx's streams belong to threads: everything here is used in the model's one thread (``model_thread.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import mlx.core as mx
import numpy as np
from mlx import nn

from moshi_phone.engines.moshi.model.batch_step import Generated, StepRow, generate
from moshi_phone.engines.moshi.model.ring_kv_cache import RingKVCache, Snapshot
from moshi_phone.engines.moshi.model.sampling import MoshiSampling, Noise
from moshi_phone.engines.moshi.model.token_history import NO_PREFIX, ForcedPrefix, TokenHistory, Tokens
from moshi_phone.vendor.moshi_mlx.models.lm import Lm, LmConfig


@dataclass(frozen=True)
class Quantization:
    """How the linear layers and embeddings are packed.

    Attributes:
        bits: to a weight.
        group_size: how many weights share a scale.
        depformer: how the depformer's are packed; None where they are packed as the others.
    """

    bits: int
    group_size: int
    depformer: Quantization | None = None

    def of(self, name: str) -> Quantization:
        """How the layer or tensor of this name is packed."""
        return self.depformer if self.depformer is not None and name.startswith("depformer.") else self


QUANTIZATIONS = {4: Quantization(4, 32), 8: Quantization(8, 64)}  # as Kyutai packs its files


def quantization_named(packing: str) -> Quantization | None:
    """Give what a value of ``--quantize`` means: ``4``, ``8``, ``4-8`` (depformer in 8), or ``none``."""
    if packing == "none":
        return None
    bits, _, depformer_bits = packing.partition("-")
    main = QUANTIZATIONS[int(bits)]
    return replace(main, depformer=QUANTIZATIONS[int(depformer_bits)]) if depformer_bits else main


def build(config: LmConfig, quantization: Quantization | None) -> Lm:
    """Lay out the model without values: nothing is computed or allocated before it is evaluated."""
    model = Lm(config)
    if quantization is not None:

        def packing(name: str, layer: object) -> bool | dict[str, int]:
            own = quantization.of(name)
            return hasattr(layer, "to_quantized") and {"bits": own.bits, "group_size": own.group_size}

        nn.quantize(model, class_predicate=packing)  # type: ignore[attr-defined] # its stubs forget it
    model.transformer_cache = []  # sessions bring their own
    model.depformer_cache = []
    return model


@dataclass(frozen=True)
class LanguageStep:
    """What one step says.

    Attributes:
        text_token: of the inner monologue.
        audio_tokens: uint32 ``[8]``: the frame of speech that answers the caller's frame; None only
            for models whose codebooks are delayed by more than one frame, in their first steps.
    """

    text_token: int
    audio_tokens: Tokens | None


@dataclass(frozen=True, eq=False)
class Overrides:
    """What somebody else decides of a step; the rest is drawn.

    Attributes:
        text: the text token to put into words; the audio follows it.
        audio: uint32 ``[8]``, the frame to say. The model hears itself say it.
        choose_text: makes of the text token that was drawn the one to put into words; the audio follows
            it. It is not asked where ``text`` is given.
    """

    text: int | None = None
    audio: Tokens | None = None
    choose_text: Callable[[int], int] | None = None


NO_OVERRIDES = Overrides()


class LanguageSession:
    """One call's conversation with the model, of any length.

    The first position is generated at once; the caller's frame k is written before the (k + 1)th after it
    is generated, so it is heard in the very step that it arrives with, and that step completes frame k of
    the answer.

    Args:
        model: shared by all sessions.
        sampling: how its tokens are drawn.
        seed: the same seed gives the same draws.
        start: what a prompt left in the model; None for a conversation without one.
        prefix: what it is made to say first. Each of its frames costs one pass of the main transformer.
        context: how many positions it attends to; the model's own number unless a trial needs fewer.
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
        # One audio token fewer than can be read: the padding is never drawn.
        self._noise = Noise(
            sampling, seed, config.text_out_vocab_size, config.audio_vocab_size - 1, self._codebooks
        )
        # Forced frame by frame, not all at once: the history is a short ring.
        self._prefix = prefix
        self._rings: list[RingKVCache] | None  # None once it is closed
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
        self._generated: Generated | None = None  # of the last step, for text_logits
        # Position 0 speaks of frame 0 already: without this the prefix would lose its first frame.
        self._force(0)
        self._finish(results_or_raise(generate(model, [self._row()]))[0])

    def set_temperature(self, temperature: float) -> None:
        """Draw at this temperature from the next step on. Call it in the model's thread."""
        self._noise.set_temperature(temperature)

    @property
    def frames(self) -> int:
        """How many of the caller's frames it has heard."""
        return self._position - self._first - 1

    @property
    def text_logits(self) -> mx.array | None:
        """Of the last position, ``[1, 1, vocabulary]``; None after ``close()``."""
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
        """Hear 80 ms of the caller and say 80 ms: what the prefix has for this frame, or else what is drawn.

        Args:
            caller_tokens: uint32 ``[8]``, the caller's frame.
            force_text: see ``Overrides.text``.
            force_audio: see ``Overrides.audio``.
            steer: see ``Overrides.choose_text``.

        Raises:
            ValueError: when an array has another shape or dtype.
            RuntimeError: after ``close()``.
            FloatingPointError: when the model's numbers have become none, which they would stay for ever.
        """
        return step_together([self], [caller_tokens], [Overrides(force_text, force_audio, steer)])[0]

    def close(self) -> None:
        """Free the memory. May be called twice, and while a step is under way in the same thread."""
        self._rings = None
        self._generated = None

    def _hear(self, caller_tokens: Tokens, overrides: Overrides) -> StepRow:
        """Take the caller's frame, and lay the step out. Repeated for the same frame, it changes nothing."""
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
        """Count the position that was generated."""
        position = self._position
        self.history.say(position, generated.tokens)
        if self._rings is not None:  # it may have been closed by what the step asked
            self._generated = generated
            for ring in self._rings:
                ring.advance()
        self._position += 1
        return LanguageStep(int(generated.tokens[0]), self.history.spoken(position))

    def _force(self, frame: int) -> None:
        """Fix a frame of the prefix while the frame before it is said: its first codebook has no delay."""
        if frame < len(self._prefix):
            check_tokens("prefix", self._prefix[frame].audio_tokens, self._codebooks)
            self.history.force(self._first + frame, self._prefix[frame].audio_tokens)


def step_together(
    sessions: Sequence[LanguageSession],
    caller_frames: Sequence[Tokens],
    overrides: Sequence[Overrides] | None = None,
) -> list[LanguageStep]:
    """Step several conversations at once: the model's weights are read once for all of them.

    Each says what it would say alone; see ``try_together`` for steps that may fail.

    Args:
        sessions: each once.
        caller_frames: uint32 ``[8]`` for each session, the caller's frame.
        overrides: for each session, what is not drawn.

    Raises:
        ValueError, RuntimeError, FloatingPointError: see ``LanguageSession.step``; the first of those that
            were raised. All other sessions have been stepped then.
    """
    return results_or_raise(try_together(sessions, caller_frames, overrides))


def try_together(
    sessions: Sequence[LanguageSession],
    caller_frames: Sequence[Tokens],
    overrides: Sequence[Overrides] | None = None,
) -> list[LanguageStep | Exception]:
    """Step several conversations at once, and give what was raised in place of the steps that failed.

    A session whose step failed is as it was before, and the others go on as if alone.

    Args:
        sessions: each once, all of one model.
        caller_frames: uint32 ``[8]`` for each session, the caller's frame.
        overrides: for each session, what is not drawn.
    """
    if len({id(session) for session in sessions}) < len(sessions):
        raise ValueError("expected each session once in a step")
    results: dict[int, LanguageStep | Exception] = {}
    batches: dict[tuple[int, int], list[tuple[int, StepRow]]] = {}
    given = zip(sessions, caller_frames, overrides or [NO_OVERRIDES] * len(sessions), strict=True)
    for index, (session, frame, override) in enumerate(given):
        try:
            row = session._hear(frame, override)
        except Exception as error:  # also of a session that was closed meanwhile
            results[index] = error
        else:
            # All calls of a server draw from as many choices; whoever does not is stepped by itself.
            batches.setdefault(row.noise.choices, []).append((index, row))
    for batch in batches.values():
        model = sessions[batch[0][0]]._model
        for (index, _), made in zip(batch, generate(model, [row for _, row in batch]), strict=True):
            results[index] = made if isinstance(made, Exception) else sessions[index]._finish(made)
    return [results[index] for index in range(len(sessions))]


T = TypeVar("T")


def results_or_raise(results: Sequence[T | Exception]) -> list[T]:
    """Give the results if none of them is an exception."""
    for result in results:
        if isinstance(result, Exception):
            raise result
    return list(results)  # type: ignore[arg-type]


def new_history(config: LmConfig) -> TokenHistory:
    """Make the token history of a model with these delays, with nothing in it."""
    return TokenHistory(
        config.audio_delays,
        config.generated_codebooks,
        text_start=config.text_out_vocab_size,
        audio_start=config.audio_padding_token,
    )


def check_tokens(name: str, tokens: Tokens, codebooks: int) -> None:
    """Check that a frame's tokens are uint32 ``[codebooks]``.

    Raises:
        ValueError: naming the argument, what was expected and what came.
    """
    if tokens.shape != (codebooks,) or tokens.dtype != np.uint32:
        raise ValueError(f"{name}: expected uint32 [{codebooks}], got {tokens.dtype} {list(tokens.shape)}")
