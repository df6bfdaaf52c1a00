"""The main transformer for one position of several calls, with shared weights and one cache for each call.

Multiplications by weights run on all rows at once. Attention runs row by row, over exactly the positions of
that row's call: it needs no padding and no mask, and no row can see another.

The parts between two attentions are compiled: their shape depends only on the number of rows. ``mx.compile``
caches traces by thread and shape, so another thread or another number of rows costs another trace.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import mlx.core as mx

from moshi_phone.engines.moshi.model.ring_kv_cache import RingKVCache
from moshi_phone.vendor.moshi_mlx.models.lm import Lm

Rings = Sequence[RingKVCache]  # one for each layer


class BatchedTransformer:
    """Runs the layers of a model.

    Args:
        model: the weights are read at each call, so a replaced weight takes effect.
    """

    def __init__(self, model: Lm) -> None:
        layers: list[Any] = model.transformer.layers
        self._heads: int = model.cfg.transformer.num_heads
        self._scale: float = model.cfg.transformer.head_dim**-0.5
        # ``inputs`` makes the weights arguments of the trace; otherwise they would be constants in it.
        self._first = mx.compile(partial(_project, layers[0]), inputs=[layers[0]])
        self._between: list[Callable[..., tuple[mx.array, mx.array, mx.array]]] = [
            mx.compile(partial(_finish_and_project, layer, following), inputs=[layer, following])
            for layer, following in itertools.pairwise(layers)
        ]
        self._last = mx.compile(partial(_finish, layers[-1]), inputs=[layers[-1]])

    def __call__(self, hidden: mx.array, rows: Sequence[Rings]) -> mx.array:
        """Run one position of each row.

        Args:
            hidden: ``[rows, 1, dim]``.
            rows: each row's caches. The position is written to them; the caller advances them.

        Returns:
            ``[rows, 1, dim]``, before the output norm.
        """
        # An array, not Python numbers: each new number would cost a new trace, at every step.
        offsets = mx.array([rings[0].offset for rings in rows], mx.int32)
        queries, written = self._first(hidden, offsets)
        last = len(self._between)
        for index in range(last + 1):
            attended = self._attend(queries, written, [rings[index] for rings in rows])
            if index < last:
                hidden, queries, written = self._between[index](hidden, attended, offsets)
        return self._last(hidden, attended)

    def _attend(self, queries: mx.array, written: mx.array, rings: Sequence[RingKVCache]) -> mx.array:
        # One call is the common case: no split, no concatenation.
        if len(rings) == 1:
            keys, values = rings[0].write(written)
            return mx.fast.scaled_dot_product_attention(queries, keys, values, scale=self._scale)
        attended = []
        for ring, query, position in zip(
            rings, mx.split(queries, len(rings)), mx.split(written, len(rings)), strict=True
        ):
            keys, values = ring.write(position)
            attended.append(mx.fast.scaled_dot_product_attention(query, keys, values, scale=self._scale))
        return mx.concatenate(attended)


def _project(layer: Any, hidden: mx.array, offsets: mx.array) -> tuple[mx.array, mx.array]:
    """Return queries, ``[rows, heads, 1, dim]``, and keys with values, ``[rows, 2 * heads, 1, dim]``."""
    attention = layer.self_attn
    heads, dim = attention.cfg.num_heads, attention.cfg.head_dim
    projected = attention.in_proj(layer.norm1(hidden)).reshape(-1, 3 * heads, 1, dim)
    # Rotary embeddings apply to queries and keys, not to values.
    rotated, values = mx.split(projected, [2 * heads], axis=1)
    if attention.rope is not None:
        rotated = attention.rope(rotated, offset=offsets)
    queries, keys = mx.split(rotated, 2, axis=1)
    return queries, mx.concatenate([keys, values], axis=1)


def _finish(layer: Any, hidden: mx.array, attended: mx.array) -> mx.array:
    """Run the rest of a layer after its attention: output projection and feed-forward."""
    hidden = hidden + layer.layer_scale_1(layer.self_attn.out_proj(attended.reshape(hidden.shape)))
    return hidden + layer.layer_scale_2(layer.gating(layer.norm2(hidden)))  # type: ignore[no-any-return]


def _finish_and_project(
    layer: Any, following: Any, hidden: mx.array, attended: mx.array, offsets: mx.array
) -> tuple[mx.array, mx.array, mx.array]:
    hidden = _finish(layer, hidden, attended)
    return hidden, *_project(following, hidden, offsets)
