"""The last seconds of a signal. Pure."""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)


class History(Generic[Scalar]):
    """The last samples of a signal, silence at first, as one array.

    Args:
        samples: how many.
        dtype: of the samples.
    """

    def __init__(self, samples: int, dtype: type[Scalar]) -> None:
        self._samples = samples
        # Twice as long, so that the samples are moved once in a while rather than with each block.
        self._buffer: NDArray[Scalar] = np.zeros(2 * samples, dtype)
        self._end = samples

    @property
    def last(self) -> NDArray[Scalar]:
        """The last samples, ``[samples]``: a view that the next ``append`` may overwrite."""
        return self._buffer[self._end - self._samples : self._end]

    def append(self, block: NDArray[Scalar]) -> None:
        """Add the next samples."""
        block = block[-self._samples :]
        if self._end + len(block) > len(self._buffer):
            self._buffer[: self._samples] = self.last
            self._end = self._samples
        self._buffer[self._end : self._end + len(block)] = block
        self._end += len(block)
