"""Moshi's language model: shared weights, and one conversation's state in a ``LanguageSession``.

``moshi_mlx`` gives the modules; stepping them is done here, because its generator keeps the KV cache in
the model (calls would share it), ends after a fixed number of steps, forgets wrongly after 4,096, and
answers one frame later than it could.

mlx's streams belong to threads: everything here is used in the model's one thread (``model_thread.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import numpy as np
from mlx import nn
from moshi_mlx.models.lm import Lm, LmConfig, ScaledEmbedding

from moshi_phone.engines.moshi.model.ring_kv_cache import LayerCache, ListKVCache, RingKVCache, Snapshot
from moshi_phone.engines.moshi.model.sampling import MoshiSampling, Noise
from moshi_phone.engines.moshi.model.token_history import NO_PREFIX, ForcedPrefix, TokenHistory, Tokens


@dataclass(frozen=True)
class Quantization:
    """How the linear layers and embeddings are packed."""

    bits: int
    group_size: int


QUANTIZATIONS = {4: Quantization(4, 32), 8: Quantization(8, 64)}  # as Kyutai packs its files


def build(config: LmConfig, quantization: Quantization | None) -> Lm:
    """Lay out the model without values: nothing is computed or allocated before it is evaluated."""
    model = Lm(config)
    if quantization is not None:
        nn.quantize(  # type: ignore[attr-defined] # its stubs forget it
            model, bits=quantization.bits, group_size=quantization.group_size
        )
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
    """

    def __init__(
        self,
        model: Lm,
        sampling: MoshiSampling,
        seed: int,
        *,
        start: Snapshot | None = None,
        prefix: ForcedPrefix = NO_PREFIX,
    ) -> None:
        config = model.cfg
        self._model = model
        self._sampling = sampling
        self._codebooks = config.generated_codebooks
        self._caller_codebooks = config.other_codebooks
        # One audio token fewer than can be read: the padding is never drawn.
        self._noise = Noise(
            sampling, seed, config.text_out_vocab_size, config.audio_vocab_size - 1, self._codebooks
        )
        self._prefix = prefix
        self._cache: list[Any] | None
        if start is None:
            self.history = new_history(config)
            self._first = 0
            self._cache = [
                LayerCache(RingKVCache(config.transformer.context)) for _ in model.transformer.layers
            ]
        else:
            self.history = start.history.copy()
            self._first = start.position
            self._cache = list(start.caches(config.transformer.context))
        self._position = self._first
        self.text_logits: mx.array | None = None  # of the last position, [1, 1, vocabulary]
        self._force(0)
        self._generate(None)

    @property
    def frames(self) -> int:
        """How many of the caller's frames it has heard."""
        return self._position - self._first - 1

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
            force_text: the text token to put into words, in place of a drawn one; the audio follows it.
            force_audio: uint32 ``[8]``, the frame to say, in place of a drawn one. The model hears
                itself say it.
            steer: makes of the text token that was drawn the one to put into words; the audio follows it.
                It is not asked where ``force_text`` is given.

        Raises:
            ValueError: when an array has another shape or dtype.
            RuntimeError: after ``close()``.
            FloatingPointError: when the model's numbers have become none, which they would stay for ever.
        """
        check_tokens("caller_tokens", caller_tokens, self._caller_codebooks)
        frame, time = self.frames, self._position - 1
        self.history.hear(time, caller_tokens)
        if frame < len(self._prefix):
            force_text = self._prefix[frame].text_token
            self._force(frame + 1)
        elif force_audio is not None:
            check_tokens("force_audio", force_audio, self._codebooks)
            self.history.force(time, force_audio)
        text_token = self._generate(force_text, steer)
        return LanguageStep(text_token, self.history.spoken(self._position - 1))

    def close(self) -> None:
        """Free the memory. May be called twice."""
        self._cache = None
        self.text_logits = None

    def _force(self, frame: int) -> None:
        """Fix a frame of the prefix while the frame before it is said: its first codebook has no delay."""
        if frame < len(self._prefix):
            check_tokens("prefix", self._prefix[frame].audio_tokens, self._codebooks)
            self.history.force(self._first + frame, self._prefix[frame].audio_tokens)

    def _generate(self, force_text: int | None, steer: Callable[[int], int] | None = None) -> int:
        if self._cache is None:
            raise RuntimeError("expected an open session, got a closed one")
        model, position = self._model, self._position
        text_noise, audio_noise = self._noise.at(position)
        hidden = model.out_norm(model.transformer(self._embed(position), cache=self._cache))
        self.text_logits = model.text_linear(hidden)
        if force_text is None:
            text = self._sampling.text.draw(self.text_logits, text_noise)
            if steer is not None:  # one evaluation more, but only while there are words to say
                text = mx.array([[steer(int(np.array(text)[0, 0]))]], mx.uint32)
        else:
            text = mx.array([[force_text]], mx.uint32)
        fixed = self.history.fixed(position)
        audio = self._depformer(hidden, text, fixed, audio_noise)
        drawn = mx.concatenate([text, *audio], axis=1)[0]
        # The last codebook drawn has attended to those before it: what is wrong with one shows in it.
        is_sound = mx.isfinite(self.text_logits).all() & mx.isfinite(self._audio_logits).all()
        # The one evaluation, which also brings the ring up to date.
        mx.eval(drawn, self.text_logits, is_sound)
        if not is_sound.item():
            raise FloatingPointError("expected finite logits, got some that are not")
        generated = np.concatenate([np.array(drawn, np.int32), np.array(fixed[len(audio) :], np.int32)])
        self.history.say(position, generated)
        self._position += 1
        return int(generated[0])

    def _embed(self, position: int) -> mx.array:
        model = self._model
        text, *audio = self.history.inputs(position).tolist()
        hidden = embed(model.text_emb, text)
        for token, embedding in zip(audio, model.audio_embs, strict=True):
            hidden = hidden + embed(embedding, token)
        return hidden

    def _depformer(
        self,
        hidden: mx.array,
        text: mx.array,
        fixed: list[int | None],
        noise: list[mx.array | None],
    ) -> list[mx.array]:
        """Draw the codebooks of one position one after the other, each knowing those before it.

        Nothing is run for those behind the last that is free: nobody would look at it.
        """
        free = [codebook for codebook, token in enumerate(fixed) if token is None]
        slices = self._model.depformer.slices[: free[-1] + 1 if free else 0]
        caches: list[Any] = [LayerCache(ListKVCache()) for _ in slices[0].transformer.layers] if free else []
        token, tokens = text, []
        self._audio_logits = hidden  # where nothing is drawn
        for part, known, gumbel in zip(
            slices, fixed, noise, strict=False
        ):  # the slices end with the last free
            state = part.linear_in(hidden) + look_up(part.emb, token)
            if known is None:
                logits = part.linear_out(part.transformer(state, cache=caches))
                token = self._sampling.audio.draw(logits, gumbel)
                self._audio_logits = logits
            else:
                part.transformer(state, cache=caches)  # for its keys alone: those after it attend to them
                token = mx.array([[known]], mx.uint32)
            tokens.append(token)
        return tokens


def new_history(config: LmConfig) -> TokenHistory:
    """Make the token history of a model with these delays, with nothing in it."""
    return TokenHistory(
        config.audio_delays,
        config.generated_codebooks,
        text_start=config.text_out_vocab_size,
        audio_start=config.audio_padding_token,
    )


def embed(embedding: Any, token: int) -> mx.array:
    """Give a token's embedding, ``[1, 1, dim]``."""
    return look_up(embedding, mx.array([[token]], mx.uint32))


def look_up(embedding: Any, tokens: mx.array) -> mx.array:
    """Embed tokens of any shape, none of them negative."""
    # Tokens here are never negative, so the zeroing of negative ones, five operations, can be left out.
    if (
        type(embedding) is ScaledEmbedding
        and embedding.low_rank is None
        and not embedding.demux_second_stream
    ):
        embedded: mx.array = embedding.weight[tokens]
    else:
        embedded = embedding(tokens)
    return embedded


def check_tokens(name: str, tokens: Tokens, codebooks: int) -> None:
    """Check that a frame's tokens are uint32 ``[codebooks]``.

    Raises:
        ValueError: naming the argument, what was expected and what came.
    """
    if tokens.shape != (codebooks,) or tokens.dtype != np.uint32:
        raise ValueError(f"{name}: expected uint32 [{codebooks}], got {tokens.dtype} {list(tokens.shape)}")
