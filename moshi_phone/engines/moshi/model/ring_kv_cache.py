"""The KV cache: a ring of exactly ``context`` positions, and snapshots of a prompt's state."""

from __future__ import annotations

from dataclasses import dataclass

import mlx.core as mx

from moshi_phone.engines.moshi.model.token_history import TokenHistory


class RingKVCache:
    """Keys and values of the last ``context`` positions, for one layer of one call.

    Kyutai's model attends to exactly ``context`` positions, the current one included: one slot more or
    fewer changes the output once the ring is full. All slots are allocated at the first write, so a call
    that has begun cannot run out of memory later.

    ``write`` stores a position; ``advance`` counts it after its step has succeeded. A repeated step
    therefore writes the same slot.
    """

    def __init__(self, context: int) -> None:
        self.context = context
        self.offset = 0  # the position of the next key; rotary embeddings count from it
        self._state: mx.array | None = None  # [1, 2 * heads, context, dim]: the keys, then the values
        # The state before the position that is being written. While it is held, mlx would copy the ring
        # instead of writing into it, so it is held only until the step is evaluated.
        self._before: mx.array | None = None

    def write(self, position: mx.array) -> tuple[mx.array, mx.array]:
        """Write the keys and values of the current position, and return those to attend to.

        Their order in the ring does not matter: rotary embeddings encode each key's position.

        Args:
            position: ``[1, 2 * heads, 1, dim]``, the keys of all heads, then their values.

        Returns:
            Keys and values, ``[1, heads, positions, dim]`` each.
        """
        if self._state is None:
            _, heads, _, dim = position.shape
            self._state = mx.zeros((1, heads, self.context, dim), position.dtype)
        self._before = self._state
        # mlx makes this an in-place write only if no other reference to the array exists.
        slot = self.offset % self.context
        self._state = written = mx.slice_update(self._state, position, mx.array([slot]), axes=(2,))
        heads = position.shape[1] // 2
        # Until the ring is full, its later slots hold zeros, which must not be attended to.
        if self.offset + 1 >= self.context:
            return written[:, :heads], written[:, heads:]
        return written[:, :heads, : self.offset + 1], written[:, heads:, : self.offset + 1]

    def commit(self) -> None:
        """Release the previous state. Call it just before the evaluation, so that mlx writes in place."""
        self._before = None

    def undo(self) -> None:
        """Discard the position written since the last ``commit``."""
        if self._before is not None:
            self._state, self._before = self._before, None

    def advance(self) -> None:
        """Count the written position."""
        self._before = None
        self.offset += 1

    @property
    def state(self) -> tuple[mx.array, mx.array]:
        """Keys and values, ``[1, heads, context, dim]`` each.

        Raises:
            RuntimeError: when there are none.
        """
        if self._state is None:
            raise RuntimeError("expected keys and values, got none yet")
        heads = self._state.shape[1] // 2
        return self._state[:, :heads], self._state[:, heads:]

    def fill(self, keys: mx.array, values: mx.array) -> None:
        """Copy in the keys and values of the first positions, ``[1, heads, positions, dim]``.

        Raises:
            ValueError: when the ring is not empty, or they do not fit.
        """
        _, heads, positions, dim = keys.shape
        if self.offset or positions > self.context:
            raise ValueError(f"expected at most {self.context} first positions, got {positions}")
        self._state = mx.zeros((1, 2 * heads, self.context, dim), keys.dtype)
        self._state[:, :heads, :positions] = keys
        self._state[:, heads:, :positions] = values
        self.offset = positions


class PromptKVCache:
    """Keys and values of a prompt during its prefill.

    Memory for the whole prompt is allocated once. With a longer array for each slice, mlx would cache all the
    shorter ones for reuse: gigabytes.

    Args:
        positions: the prompt's length.
    """

    def __init__(self, positions: int) -> None:
        self.offset = 0
        self._positions = positions
        self._keys: mx.array | None = None  # [1, heads, positions, dim]
        # Same shape. The first slice determines the dtype of both.
        self._values: mx.array | None = None

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        """Append positions, ``[1, heads, positions, dim]``, and return all so far.

        Raises:
            ValueError: when they exceed the prompt's length.
        """
        end = self.offset + keys.shape[2]
        if end > self._positions:
            raise ValueError(f"expected at most {self._positions} positions, got {end}")
        if self._keys is None or self._values is None:
            shape = (1, keys.shape[1], self._positions, keys.shape[3])
            self._keys, self._values = mx.zeros(shape, keys.dtype), mx.zeros(shape, values.dtype)
        self._keys[:, :, self.offset : end] = keys
        self._values[:, :, self.offset : end] = values
        self.offset = end
        return self._keys[:, :, :end], self._values[:, :, :end]

    @property
    def state(self) -> tuple[mx.array, mx.array]:
        """Keys and values of all positions, with zeros for unread ones.

        Raises:
            RuntimeError: when there are none.
        """
        if self._keys is None or self._values is None:
            raise RuntimeError("expected keys and values, got none yet")
        return self._keys, self._values


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The state after a prompt. Immutable: each call gets a copy.

    Attributes:
        keys: for each layer, ``[1, heads, positions, dim]``.
        values: for each layer, ``[1, heads, positions, dim]``.
        history: the tokens after the prompt.
        position: the first position after the prompt.
    """

    keys: tuple[mx.array, ...]
    values: tuple[mx.array, ...]
    history: TokenHistory
    position: int

    @property
    def size_bytes(self) -> int:
        """Memory of the keys and values, in bytes."""
        return sum(array.nbytes for array in (*self.keys, *self.values))

    def caches(self, context: int) -> list[RingKVCache]:
        """Return caches for a new call, of ``context`` positions each, with a copy of this state."""
        rings = [RingKVCache(context) for _ in self.keys]
        for ring, keys, values in zip(rings, self.keys, self.values, strict=True):
            ring.fill(keys, values)  # copies: a write to an mlx array is visible through every reference
        return rings
