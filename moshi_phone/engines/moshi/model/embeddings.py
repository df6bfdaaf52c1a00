"""Token embedding with the model's tables."""

from __future__ import annotations

from typing import Any

import mlx.core as mx

from moshi_phone.vendor.moshi_mlx.models.lm import ScaledEmbedding


def look_up(embedding: Any, tokens: mx.array) -> mx.array:
    """Embed tokens of any shape, none of them negative."""
    # Skips the vendored module's zeroing of negative tokens: five operations that no token here needs.
    if (
        type(embedding) is ScaledEmbedding
        and embedding.low_rank is None
        and not embedding.demux_second_stream
    ):
        embedded: mx.array = embedding.weight[tokens]
    else:
        embedded = embedding(tokens)
    return embedded


def sum_up(text_table: Any, audio_tables: Any, tokens: mx.array) -> mx.array:
    """Sum the embeddings of all streams: uint32 ``[rows, 1 + codebooks]`` to ``[rows, 1, dim]``."""
    hidden = look_up(text_table, tokens[:, :1])
    for row, table in enumerate(audio_tables, start=1):
        hidden = hidden + look_up(table, tokens[:, row : row + 1])
    return hidden
