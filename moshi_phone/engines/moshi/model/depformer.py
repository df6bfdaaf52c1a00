"""The depth transformer for one position of several calls: eight sequential draws in one compiled function.

Each slice is a small transformer that attends to the earlier slices. All shapes depend only on the number of
rows, so the whole loop is compiled.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import mlx.core as mx

from moshi_phone.engines.moshi.model.embeddings import look_up
from moshi_phone.engines.moshi.model.sampling import StreamDraws, draw


class BatchedDepformer:
    """Draws the audio tokens of one position of each row.

    Args:
        slices: the model's. The weights are read at each call, so a replaced weight takes effect.
    """

    def __init__(self, slices: Sequence[Any]) -> None:
        self._run = mx.compile(partial(_draw_all, slices), inputs=[slices])

    def __call__(
        self,
        hidden: mx.array,
        text: mx.array,
        draws: StreamDraws,
        fixed: mx.array | None,
        codebooks: int,
    ) -> tuple[mx.array, mx.array]:
        """Draw the codebooks in order, each conditioned on the earlier ones.

        Args:
            hidden: ``[rows, 1, dim]``, the main transformer's output.
            text: uint32 ``[rows, 1]``.
            draws: noise for at least ``codebooks`` draws.
            fixed: int32 ``[rows, codebooks]``, the forced tokens, with -1 for drawn ones; None if all are
                drawn.
            codebooks: number of codebooks to run.

        Returns:
            Tokens, uint32 ``[rows, codebooks]``; and bool ``[rows]``, whether the last logits are finite.
            The last codebook attends to all earlier ones, so a non-finite value in any of them shows there.
        """
        return self._run(hidden, text, (*draws, fixed), codebooks)


def _draw_all(
    slices: Sequence[Any],
    hidden: mx.array,
    text: mx.array,
    choices: tuple[mx.array | None, mx.array | None, mx.array | None],
    codebooks: int,
) -> tuple[mx.array, mx.array]:
    noise, greedy, fixed = choices
    caches: list[list[mx.array]] = [[] for _ in slices[0].transformer.layers]
    token, tokens = text, []
    # The trace unrolls this Python loop: it runs once for each number of rows and codebooks.
    for codebook, part in enumerate(slices[:codebooks]):
        state = part.linear_in(hidden) + look_up(part.emb, token)
        for layer, cache in zip(part.transformer.layers, caches, strict=True):
            state = _layer(layer, state, cache)
        logits = part.linear_out(state)
        of_codebook = None if noise is None else noise[:, codebook : codebook + 1]
        token = draw(logits, StreamDraws(of_codebook, greedy))
        if fixed is not None:
            known = fixed[:, codebook : codebook + 1]
            token = mx.where(known < 0, token, known.astype(mx.uint32))
        tokens.append(token)
    return mx.concatenate(tokens, axis=1), mx.isfinite(logits).all(axis=(1, 2))


def _layer(layer: Any, state: mx.array, cache: list[mx.array]) -> mx.array:
    """Run a layer on one codebook of each row; ``cache`` holds the earlier keys and values."""
    attention = layer.self_attn
    heads, dim = attention.cfg.num_heads, attention.cfg.head_dim
    projected = attention.in_proj(layer.norm1(state)).reshape(-1, 3 * heads, 1, dim)
    queries, held = mx.split(projected, [heads], axis=1)
    if attention.rope is not None:
        offset = cache[0].shape[2] if cache else 0
        keys, values = mx.split(held, 2, axis=1)
        queries, keys = attention.rope(queries, offset=offset), attention.rope(keys, offset=offset)
        held = mx.concatenate([keys, values], axis=1)
    if cache:
        held = mx.concatenate([cache[0], held], axis=2)
    cache[:] = [held]
    keys, values = mx.split(held, 2, axis=1)
    # Only for models whose depformer attends to fewer positions than it has codebooks.
    if (left_out := keys.shape[2] - 1 - attention.cfg.context) > 0:
        keys, values = keys[:, :, left_out:], values[:, :, left_out:]
    attended = mx.fast.scaled_dot_product_attention(queries, keys, values, scale=dim**-0.5)
    state = state + layer.layer_scale_1(attention.out_proj(attended.reshape(state.shape)))
    return state + layer.layer_scale_2(layer.gating(layer.norm2(state)))  # type: ignore[no-any-return]
