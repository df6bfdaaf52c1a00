"""Prefill of a prompt: one pass of the main transformer, or several over slices of the prompt.

Every token of a prompt is forced, so the depformer is not needed and positions can be processed in parallel.
``moshi_mlx``'s ``Transformer`` does not forward a mask, so the layers are called here directly.
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
    """The prefill of one prompt. Use it in the model's thread.

    Args:
        model: the language model.
        inputs: int32 ``[positions, 1 + codebooks]``: the input tokens of each position.
        embeddings: float32 ``[first positions, dim]``: inputs of the first positions in place of tokens.
        history: the tokens after the prompt; stored in the snapshot.
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
        self._position = 0  # the first unread one

    @property
    def positions_left(self) -> int:
        """Number of positions not read yet."""
        return len(self._inputs) - self._position

    def advance(self, positions: int) -> None:
        """Read at most ``positions`` more positions in one pass."""
        end = min(self._position + positions, len(self._inputs))
        layers: list[Any] = self._model.transformer.layers
        hidden = self._embed(self._position, end)
        for layer, cache in zip(layers, self._caches, strict=True):
            attended = layer.self_attn(layer.norm1(hidden), cache=cache, mask="causal")
            hidden = hidden + layer.layer_scale_1(attended)
            hidden = hidden + layer.layer_scale_2(layer.gating(layer.norm2(hidden)))
        # Evaluates keys and values only, so mlx never computes the last layer's output.
        mx.eval([array for cache in self._caches for array in cache.state])
        self._position = end

    def snapshot(self) -> Snapshot:
        """Return the state after the last position.

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
            # A quantized table is uint32; an embedding from it has the model's dtype.
            dtype = look_up(model.text_emb, mx.array([[0]], mx.uint32)).dtype
            parts.append(mx.array(self._embeddings[begin : begin + given])[None].astype(dtype))
        if begin + given < end:
            tokens = mx.array(self._inputs[begin + given : end].astype(np.uint32))[None]
            hidden = look_up(model.text_emb, tokens[..., 0])
            for row, embedding in enumerate(model.audio_embs, start=1):
                hidden = hidden + look_up(embedding, tokens[..., row])
            parts.append(hidden)
        return mx.concatenate(parts, axis=1)
