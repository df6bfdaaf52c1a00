"""The attention cache: a ring of exactly ``context`` positions, and snapshots of its beginning."""

from __future__ import annotations

from dataclasses import dataclass

import mlx.core as mx

from moshi_phone.engines.moshi.model.token_history import TokenHistory


class RingKVCache:
    """Keys and values of exactly the last ``context`` positions of one layer of one call.

    Exactly ``context``: Kyutai's model attends to that many positions, the current one included, so one
    slot more or fewer is another model from then on. All slots are allocated at once, so that a call
    which begins can also go on.

    A position is written first and counted only once its step has succeeded (``advance``), so a step that
    failed can be repeated: it writes the same slot again.
    """

    def __init__(self, context: int) -> None:
        self.context = context
        self.offset = 0  # the position of the next key; rotary embeddings count from it
        self._state: mx.array | None = None  # [1, 2 * heads, context, dim]: the keys, then the values
        # The state before the position that is being written. While it is held, mlx would copy the ring
        # instead of writing into it, so it is held only until the step is evaluated.
        self._before: mx.array | None = None

    def write(self, position: mx.array) -> tuple[mx.array, mx.array]:
        """Write the keys and values of the current position, and give all that it attends to.

        The order within the ring does not matter: positions are in the keys, by rotation.

        Args:
            position: ``[1, 2 * heads, 1, dim]``, the keys of all heads, then their values.

        Returns:
            Keys and values, ``[1, heads, positions, dim]`` each.
        """
        if self._state is None:
            _, heads, _, dim = position.shape
            self._state = mx.zeros((1, heads, self.context, dim), position.dtype)
        self._before = self._state
        # Not an in-place write: mlx turns this into one only while nobody else holds the array.
        slot = self.offset % self.context
        self._state = written = mx.slice_update(self._state, position, mx.array([slot]), axes=(2,))
        heads = position.shape[1] // 2
        # Until the ring is full, its later slots hold zeros, which must not be attended to.
        if self.offset + 1 >= self.context:
            return written[:, :heads], written[:, heads:]
        return written[:, :heads, : self.offset + 1], written[:, heads:, : self.offset + 1]

    def commit(self) -> None:
        """Let go of the state before the written position: the step is about to be evaluated."""
        self._before = None

    def undo(self) -> None:
        """Forget what was written since the last ``commit``."""
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
        """Begin with the keys and values of the first positions, ``[1, heads, positions, dim]``: copies them.

        Raises:
            ValueError: when they are more than fit.
        """
        _, heads, positions, dim = keys.shape
        if self.offset or positions > self.context:
            raise ValueError(f"expected at most {self.context} first positions, got {positions}")
        self._state = mx.zeros((1, 2 * heads, self.context, dim), keys.dtype)
        self._state[:, :heads, :positions] = keys
        self._state[:, heads:, :positions] = values
        self.offset = positions


class PromptKVCache:
    """Keys and values of a prompt while it is read, slice by slice.

    Room for all of it is taken at once: with one more array for each slice, and each longer than the last,
    mlx would keep all the earlier ones for later use, gigabytes of them.

    Args:
        positions: the length of the prompt.
    """

    def __init__(self, positions: int) -> None:
        self.offset = 0
        self._positions = positions
        self._keys: mx.array | None = None  # [1, heads, positions, dim]
        # The same shape; both are made with the first slice, whose dtype they take.
        self._values: mx.array | None = None

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        """Append some positions, ``[1, heads, positions, dim]``, and give all so far.

        Raises:
            ValueError: when they are more than the prompt has.
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
        """Keys and values of all positions, zeros where they have not been read yet.

        Raises:
            RuntimeError: when there are none.
        """
        if self._keys is None or self._values is None:
            raise RuntimeError("expected keys and values, got none yet")
        return self._keys, self._values


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

    def caches(self, context: int) -> list[RingKVCache]:
        """Give a new call's caches, of ``context`` positions each, with a copy of this in them."""
        rings = [RingKVCache(context) for _ in self.keys]
        for ring, keys, values in zip(rings, self.keys, self.values, strict=True):
            ring.fill(keys, values)  # a copy: writing into an mlx array changes it for all who hold it
        return rings
