"""Reads a whole prompt in one pass of the main transformer, or in slices of it.

A prompt is forced from end to end, so nothing has to be drawn between its positions: the depformer is not
needed, and the positions need not wait for each other. ``moshi_mlx``'s ``Transformer`` passes no mask on, so
this goes through its layers.
"""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from moshi_phone.engines.moshi.model.embeddings import look_up
from moshi_phone.engines.moshi.model.ring_kv_cache import PromptKVCache, Snapshot
from moshi_phone.engines.moshi.model.token_history import TokenHistory
from moshi_phone.vendor.moshi_mlx.models.lm import Lm


class Prefill:
    """One prompt on its way into the model. Used in the model's thread.

    Args:
        model: reads it.
        inputs: int32 ``[positions, 1 + codebooks]``: the tokens that each position reads.
        embeddings: float32 ``[first positions, dim]``: what the first of them read in place of tokens.
        history: what the position after the last one reads; kept in the snapshot.
    """

    def __init__(
        self,
        model: Lm,
        inputs: NDArray[np.int32],
        embeddings: NDArray[np.float32] | None,
        history: TokenHistory,
    ) -> None:
        self._model = model
        self._inputs = inputs
        self._embeddings = embeddings
        self._history = history
        # Not rings: a pass over several positions needs their keys in order, for the causal mask.
        self._caches = [PromptKVCache(len(inputs)) for _ in model.transformer.layers]
        self._position = 0  # the first that has not been read

    @property
    def positions_left(self) -> int:
        """How many positions have not been read yet."""
        return len(self._inputs) - self._position

    def advance(self, positions: int) -> None:
        """Read the next positions, at most so many, in one pass."""
        end = min(self._position + positions, len(self._inputs))
        layers: list[Any] = self._model.transformer.layers
        hidden = self._embed(self._position, end)
        for layer, cache in zip(layers, self._caches, strict=True):
            attended = layer.self_attn(layer.norm1(hidden), cache=cache, mask="causal")
            hidden = hidden + layer.layer_scale_1(attended)
            hidden = hidden + layer.layer_scale_2(layer.gating(layer.norm2(hidden)))
        # Nothing but keys and values is wanted, so the last layer's output is never computed.
        mx.eval([array for cache in self._caches for array in cache.state])
        self._position = end

    def snapshot(self) -> Snapshot:
        """Give the state after the last position.

        Raises:
            RuntimeError: when there are positions left.
        """
        if self.positions_left:
            raise RuntimeError(f"expected no positions left, got {self.positions_left}")
        states = [cache.state for cache in self._caches]
        return Snapshot(
            tuple(keys for keys, _ in states),
            tuple(values for _, values in states),
            self._history,
            len(self._inputs),
        )

    def _embed(self, begin: int, end: int) -> mx.array:
        model: Any = self._model
        given = 0 if self._embeddings is None else min(max(len(self._embeddings) - begin, 0), end - begin)
        parts = []
        if self._embeddings is not None and given:
            # A packed table's own dtype is uint32; what is looked up in it has the model's own dtype.
            dtype = look_up(model.text_emb, mx.array([[0]], mx.uint32)).dtype
            parts.append(mx.array(self._embeddings[begin : begin + given])[None].astype(dtype))
        if begin + given < end:
            tokens = mx.array(self._inputs[begin + given : end].astype(np.uint32))[None]
            hidden = look_up(model.text_emb, tokens[..., 0])
            for row, embedding in enumerate(model.audio_embs, start=1):
                hidden = hidden + look_up(embedding, tokens[..., row])
            parts.append(hidden)
        return mx.concatenate(parts, axis=1)
