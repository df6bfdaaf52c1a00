"""The attention cache: a ring of exactly ``context`` positions, and snapshots of its beginning."""

from __future__ import annotations

from dataclasses import dataclass

import mlx.core as mx

from moshi_phone.engines.moshi.model.token_history import TokenHistory


class RingKVCache:
    """A ring of ``context`` slots, in the shape that ``moshi_mlx``'s attention takes for a cache.

    Exactly ``context``: Kyutai's model attends to that many positions, the current one included, so one
    slot more or fewer is another model from then on. All slots are allocated at once, so that a call
    which begins can also go on.
    """

    def __init__(self, context: int) -> None:
        self.context = context
        self.offset = 0  # the position of the next key; rotary embeddings count from it
        self._keys: mx.array | None = None
        self._values: mx.array | None = None

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        """Take one position, ``[1, heads, 1, dim]``, and give all that may be attended to.

        The order within the ring does not matter: positions are in the keys, by rotation.
        """
        if self._keys is None or self._values is None:
            batch, heads, _, dim = keys.shape
            self._keys = mx.zeros((batch, heads, self.context, dim), keys.dtype)
            self._values = mx.zeros((batch, heads, self.context, values.shape[3]), values.dtype)
        slot = self.offset % self.context
        self._keys[..., slot : slot + 1, :] = keys
        self._values[..., slot : slot + 1, :] = values
        self.offset += 1
        if self.offset >= self.context:
            return self._keys, self._values
        return self._keys[..., : self.offset, :], self._values[..., : self.offset, :]

    @property
    def state(self) -> tuple[mx.array, mx.array]:
        """Keys and values, ``[1, heads, context, dim]`` each.

        Raises:
            RuntimeError: when there are none.
        """
        return _held(self._keys, self._values)

    def fill(self, keys: mx.array, values: mx.array) -> None:
        """Begin with the keys and values of the first positions, ``[1, heads, positions, dim]``: copies them.

        Raises:
            ValueError: when they are more than fit.
        """
        batch, heads, positions, dim = keys.shape
        if self.offset or positions > self.context:
            raise ValueError(f"expected at most {self.context} first positions, got {positions}")
        self._keys = mx.zeros((batch, heads, self.context, dim), keys.dtype)
        self._values = mx.zeros((batch, heads, self.context, values.shape[3]), values.dtype)
        self._keys[..., :positions, :] = keys
        self._values[..., :positions, :] = values
        self.offset = positions


class ListKVCache:
    """Keys and values that are appended: of one frame's few codebooks, or of a prompt while it is read."""

    def __init__(self) -> None:
        self.offset = 0
        self._keys: mx.array | None = None
        self._values: mx.array | None = None

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        """Append some positions, ``[1, heads, positions, dim]``, and give all."""
        if self._keys is not None and self._values is not None:
            keys = mx.concatenate([self._keys, keys], axis=2)
            values = mx.concatenate([self._values, values], axis=2)
        self._keys, self._values = keys, values
        self.offset = keys.shape[2]
        return keys, values

    @property
    def state(self) -> tuple[mx.array, mx.array]:
        """Keys and values of all positions so far.

        Raises:
            RuntimeError: when there are none.
        """
        return _held(self._keys, self._values)


@dataclass(frozen=True, slots=True)
class LayerCache:
    """What ``moshi_mlx``'s layers take for their cache."""

    self_attn: RingKVCache | ListKVCache
    cross_attn: None = None


def _held(keys: mx.array | None, values: mx.array | None) -> tuple[mx.array, mx.array]:
    if keys is None or values is None:
        raise RuntimeError("expected keys and values, got none yet")
    return keys, values


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
