"""Kyutai's speech-to-text on the caller's Mimi tokens, with one session for each call.

The model has Moshi's architecture without a depformer: it reads 32 of the caller's codebooks, the first 8 of
which are Moshi's, and writes text. Use it in the model's thread, like all of mlx.
"""

from __future__ import annotations

from collections.abc import Sequence

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from moshi_phone.engines.moshi.model.batch_step import parts_of
from moshi_phone.engines.moshi.model.embeddings import sum_up
from moshi_phone.engines.moshi.model.language_model import check_tokens, results_or_raise
from moshi_phone.engines.moshi.model.ring_kv_cache import RingKVCache
from moshi_phone.engines.moshi.model.token_history import Tokens
from moshi_phone.vendor.moshi_mlx.models.lm import Lm


class ListeningSession:
    """Transcription of one call, of any length, with a KV cache of exactly the context.

    The constructor generates position 0 from the start tokens. The caller's frame k is read at position
    k + 1, as in Kyutai's PyTorch code. Text is decoded greedily; tokens 0 and 3 are padding.

    Args:
        model: a model with ``dep_q`` 0 and all delays 0.
        context: number of positions to attend to. The default is the model's; trial runs use fewer.

    Raises:
        ValueError: for a model with a depformer or with delays.
    """

    def __init__(self, model: Lm, *, context: int | None = None) -> None:
        config = model.cfg
        if config.generated_codebooks or any(config.audio_delays):
            raise ValueError(
                f"expected a model of dep_q 0 without delays, got dep_q {config.generated_codebooks} "
                f"and delays {config.audio_delays}"
            )
        self._model = model
        self._codebooks = config.audio_codebooks
        # None once the session is closed.
        self._rings: list[RingKVCache] | None = [
            RingKVCache(context or config.transformer.context) for _ in model.transformer.layers
        ]
        self._position = 0  # the next to read; counted only when its step has succeeded
        # The last text token, an input of the next position; at first the start token.
        self._text_token = config.text_out_vocab_size
        self._extra_heads = np.zeros((0, 0), np.float32)  # of the last step
        start = np.full(self._codebooks, config.audio_padding_token, np.uint32)
        results_or_raise(transcribe_together([self], [start]))

    @property
    def frames(self) -> int:
        """Number of the caller's frames read so far."""
        return self._position - 1

    @property
    def extra_heads(self) -> NDArray[np.float32]:
        """The last step's probabilities, float32 ``[heads, classes]``; no rows if the model has no heads.

        In Kyutai's example, class 0 of head 2 above 0.5 means that the caller has finished.
        """
        return self._extra_heads

    def step(self, caller_tokens: Tokens) -> int:
        """Read 80 ms of the caller's audio and return its text token.

        Args:
            caller_tokens: uint32 ``[32]``, all codebooks of the caller's frame.

        Raises:
            ValueError: when the array has another shape or dtype.
            RuntimeError: after ``close()``.
        """
        return results_or_raise(transcribe_together([self], [caller_tokens]))[0]

    def close(self) -> None:
        """Free the cache. May be called twice."""
        self._rings = None

    def _inputs(self, caller_tokens: Tokens) -> NDArray[np.uint32]:
        """Return the next position's input tokens, uint32 ``[1 + codebooks]``, the text first."""
        check_tokens("caller_tokens", caller_tokens, self._codebooks)
        if self._rings is None:
            raise RuntimeError("expected an open session, got a closed one")
        return np.concatenate([[np.uint32(self._text_token)], caller_tokens])

    def _finish(self, text_token: int, extra_heads: NDArray[np.float32]) -> int:
        """Record the results and advance to the next position."""
        self._text_token, self._extra_heads = text_token, extra_heads
        for ring in self._rings or ():
            ring.advance()
        self._position += 1
        return text_token


def transcribe_together(
    sessions: Sequence[ListeningSession], caller_frames: Sequence[Tokens]
) -> list[int | Exception]:
    """Step several sessions in one batch: one pass over the model's weights serves all.

    If the batched step raises, each session is retried alone from its previous state.

    Args:
        sessions: each once, all of one model.
        caller_frames: uint32 ``[32]`` for each session.

    Returns:
        For each session its text token, or the exception that its step raised.
    """
    results: dict[int, int | Exception] = {}
    inputs: dict[int, NDArray[np.uint32]] = {}
    for index, (session, frame) in enumerate(zip(sessions, caller_frames, strict=True)):
        try:
            inputs[index] = session._inputs(frame)
        except (ValueError, RuntimeError) as error:
            results[index] = error
    if inputs:
        indices = list(inputs)
        results |= dict(
            zip(
                indices,
                _transcribe([sessions[index] for index in indices], np.stack(list(inputs.values()))),
                strict=True,
            )
        )
    return [results[index] for index in range(len(sessions))]


def _transcribe(sessions: Sequence[ListeningSession], inputs: NDArray[np.uint32]) -> list[int | Exception]:
    model = sessions[0]._model
    rows = [session._rings or [] for session in sessions]
    try:
        hidden = sum_up(model.text_emb, model.audio_embs, mx.array(inputs))
        hidden = model.out_norm(parts_of(model).transformer(hidden, rows))
        text = mx.argmax(model.text_linear(hidden), axis=-1)
        heads = [mx.softmax(head(hidden).astype(mx.float32), axis=-1) for head in model.extra_heads]
        for ring in (ring for rings in rows for ring in rings):
            ring.commit()
        mx.eval(text, *heads)  # the one evaluation, which also brings the rings up to date
    except Exception as error:
        for ring in (ring for rings in rows for ring in rings):
            ring.undo()
        if len(sessions) == 1:
            return [error]
        return [
            _transcribe([session], inputs[index : index + 1])[0] for index, session in enumerate(sessions)
        ]
    probabilities = np.stack([np.array(head)[:, 0] for head in heads], axis=1) if heads else None
    return [
        session._finish(
            int(token), np.zeros((0, 0), np.float32) if probabilities is None else probabilities[index]
        )
        for index, (session, token) in enumerate(zip(sessions, np.array(text)[:, 0], strict=True))
    ]
