"""The caller's words: Kyutai's speech to text on the tokens that Moshi hears, one session a call.

The model is of Moshi's family, without a voice of its own: it reads 32 of the caller's codebooks, of which
Moshi's 8 are the first, and writes text. Used in the model's thread, as everything of mlx.
"""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np
from moshi_mlx.models.lm import Lm
from numpy.typing import NDArray

from moshi_phone.engines.moshi.model.language_model import check_tokens, embed
from moshi_phone.engines.moshi.model.ring_kv_cache import LayerCache, RingKVCache
from moshi_phone.engines.moshi.model.token_history import Tokens


class ListeningSession:
    """What one caller says, as text tokens: a call of any length, on a cache of exactly the context.

    Position 0 is generated from the start tokens at once; the caller's frame k is read at position k + 1, as
    Kyutai's PyTorch code does it. The text is the likeliest at every step; tokens 0 and 3 are padding.

    Args:
        model: reads audio only: ``dep_q`` 0, all delays 0.

    Raises:
        ValueError: for a model that speaks, or that delays its streams.
    """

    def __init__(self, model: Lm) -> None:
        config = model.cfg
        if config.generated_codebooks or any(config.audio_delays):
            raise ValueError(
                f"expected a model of dep_q 0 without delays, got dep_q {config.generated_codebooks} "
                f"and delays {config.audio_delays}"
            )
        self._model = model
        self._codebooks = config.audio_codebooks
        self._cache: list[Any] | None = [
            LayerCache(RingKVCache(config.transformer.context)) for _ in model.transformer.layers
        ]
        self._position = 0
        self._text_token = config.text_out_vocab_size
        self._extra_heads = np.zeros((0, 0), np.float32)
        self._generate([config.audio_padding_token] * self._codebooks)

    @property
    def frames(self) -> int:
        """How many of the caller's frames it has read."""
        return self._position - 1

    @property
    def extra_heads(self) -> NDArray[np.float32]:
        """float32 ``[heads, classes]``: the last step's probabilities; no heads where the file has none.

        Kyutai's example takes class 0 of head 2 for "the caller has finished", above 0.5.
        """
        return self._extra_heads

    def step(self, caller_tokens: Tokens) -> int:
        """Read 80 ms of the caller and give the text token that they add.

        Args:
            caller_tokens: uint32 ``[32]``, all codebooks of the caller's frame.

        Raises:
            ValueError: when the array has another shape or dtype.
            RuntimeError: after ``close()``.
        """
        check_tokens("caller_tokens", caller_tokens, self._codebooks)
        return self._generate(caller_tokens.tolist())

    def close(self) -> None:
        """Free the cache. May be called twice."""
        self._cache = None

    def _generate(self, audio: list[int]) -> int:
        if self._cache is None:
            raise RuntimeError("expected an open session, got a closed one")
        model = self._model
        hidden = embed(model.text_emb, self._text_token)
        for token, embedding in zip(audio, model.audio_embs, strict=True):
            hidden = hidden + embed(embedding, token)
        hidden = model.out_norm(model.transformer(hidden, cache=self._cache))
        text = mx.argmax(model.text_linear(hidden), axis=-1)
        heads = [mx.softmax(head(hidden).astype(mx.float32), axis=-1) for head in model.extra_heads]
        mx.eval(text, *heads)  # the one evaluation, which also brings the ring up to date
        if heads:
            self._extra_heads = np.stack([np.array(head)[0, 0] for head in heads])
        self._text_token = int(np.array(text)[0, 0])
        self._position += 1
        return self._text_token
