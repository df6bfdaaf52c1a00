"""The last seconds of a signal. Pure."""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)


class History(Generic[Scalar]):
    """The last samples of a signal, silence at first, as one array.

    Args:
        samples: the number of samples.
        dtype: of the samples.
    """

    def __init__(self, samples: int, dtype: type[Scalar]) -> None:
        self._samples = samples
        # Twice as long, so that the samples are moved occasionally rather than with each block.
        self._buffer: NDArray[Scalar] = np.zeros(2 * samples, dtype)
        self._end = samples
        self._waiting: list[NDArray[Scalar]] = []  # blocks after those in the buffer; bounded by ``samples``
        self._waiting_samples = 0

    @property
    def last(self) -> NDArray[Scalar]:
        """The last samples, ``[samples]``: a view that may be overwritten after the next ``append``."""
        self._store()
        return self._buffer[self._end - self._samples : self._end]

    def append(self, block: NDArray[Scalar]) -> None:
        """Add the next samples. They are copied later, many blocks at once, so do not change them."""
        self._waiting.append(block)
        self._waiting_samples += len(block)
        if self._waiting_samples >= self._samples:
            self._store()

    def _store(self) -> None:
        if not self._waiting:
            return
        block = np.concatenate(self._waiting)[-self._samples :]
        self._waiting, self._waiting_samples = [], 0
        if self._end + len(block) > len(self._buffer):
            self._buffer[: self._samples] = self._buffer[self._end - self._samples : self._end]
            self._end = self._samples
        self._buffer[self._end : self._end + len(block)] = block
        self._end += len(block)
