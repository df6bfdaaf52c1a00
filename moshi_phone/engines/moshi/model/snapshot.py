"""A conversation's beginning, kept: what a prompt left in the model, to be copied into any call."""

from __future__ import annotations

from dataclasses import dataclass

import mlx.core as mx

from moshi_phone.engines.moshi.model.ring_kv_cache import LayerCache, RingKVCache
from moshi_phone.engines.moshi.model.token_history import TokenHistory


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The state after a prompt. Nobody writes to it: calls get copies.

    Attributes:
        keys: of each layer, ``[1, heads, positions, dim]``.
        values: of each layer, ``[1, heads, positions, dim]``.
        history: the tokens that the next positions read.
        position: the first that is not in it.
    """

    keys: tuple[mx.array, ...]
    values: tuple[mx.array, ...]
    history: TokenHistory
    position: int

    @property
    def size_bytes(self) -> int:
        """How much memory the keys and values take."""
        return sum(array.nbytes for array in (*self.keys, *self.values))

    def caches(self, context: int) -> list[LayerCache]:
        """Give a new call's caches, of ``context`` positions each, with a copy of this in them."""
        rings = [RingKVCache(context) for _ in self.keys]
        for ring, keys, values in zip(rings, self.keys, self.values, strict=True):
            ring.fill(keys, values)  # a copy: writing into an mlx array changes it for all who hold it
        return [LayerCache(ring) for ring in rings]
