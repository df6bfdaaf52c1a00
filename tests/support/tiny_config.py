"""The ``config.json`` of a small model of Moshi's structure. It imports no framework."""

from __future__ import annotations

from typing import Any


def tiny_config(
    *,
    dim: int = 128,
    layers: int = 2,
    depformer_layers: int = 1,
    context: int = 3000,
    text_card: int = 200,
    card: int = 2048,
    codebooks: int = 8,
    slices: int | None = None,
) -> dict[str, Any]:
    """Return a ``config.json`` for a model that steps in milliseconds on any CPU.

    With Mimi, keep the defaults of ``card`` and ``codebooks``; without it, fewer are faster.

    Args:
        dim: of both transformers, a multiple of 32.
        layers: of the large one.
        depformer_layers: of the depth transformer.
        context: in frames.
        text_card: text tokens.
        card: audio tokens of a codebook.
        codebooks: of each side.
        slices: of the depth transformer; by default one for each codebook of the model's own side.
    """
    slices = slices or codebooks
    return {
        "card": card,
        "n_q": 2 * codebooks,
        "dep_q": slices,
        "delays": [0] + ([0] + [1] * (codebooks - 1)) * 2,
        "dim": dim,
        "text_card": text_card,
        "num_heads": dim // 32,
        "num_layers": layers,
        "causal": True,
        "layer_scale": None,
        "context": context,
        "max_period": 10000,
        "positional_embedding": "rope",
        "depformer_dim": dim,
        "depformer_num_heads": dim // 32,
        "depformer_num_layers": depformer_layers,
        "depformer_dim_feedforward": 4 * dim,
        "depformer_context": slices,
        "depformer_pos_emb": "none",
    }
