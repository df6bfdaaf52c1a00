"""Loudness and clipping of a call's audio, in bounded memory. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from moshi_phone.audio.formats import PHONE_RATE_HZ

_MAX_COLUMNS = 4096
_FULL_SCALE = 32_000  # of 32,767: µ-law's largest value is 32,124


class Sound:
    """Loudness of both voices over time, and the share of samples at full scale.

    Attributes:
        column_samples: length of one column; doubled when there are too many columns.
    """

    def __init__(self) -> None:
        self.column_samples = 160  # doubles when there are too many columns: memory is bounded for any length
        self._columns = np.zeros((0, 2), np.int16)  # peak of each column, by side
        self._rest = np.zeros((0, 2), np.int16)
        self._clipped = np.zeros(2, np.int64)
        self._loud = np.zeros(2, np.int64)

    def feed(self, both: NDArray[np.int16]) -> None:
        """Process the next audio: int16 ``[n, 2]``, 8 kHz."""
        magnitudes = np.abs(both.astype(np.int32))
        self._clipped += (magnitudes >= _FULL_SCALE).sum(axis=0)
        self._loud += (magnitudes > 0).sum(axis=0)
        waiting = np.concatenate((self._rest, np.minimum(magnitudes, 32_767).astype(np.int16)))
        whole = len(waiting) // self.column_samples * self.column_samples
        self._rest = waiting[whole:]
        peaks = waiting[:whole].reshape(-1, self.column_samples, 2).max(axis=1, initial=0)
        self._columns = np.concatenate((self._columns, peaks))
        while len(self._columns) > _MAX_COLUMNS:
            if len(self._columns) % 2:  # an odd last column is returned to the unprocessed columns
                last = np.repeat(self._columns[-1:], self.column_samples, axis=0)
                self._rest = np.concatenate((last, self._rest))
            pairs = self._columns[: len(self._columns) // 2 * 2]
            self._columns = pairs.reshape(-1, 2, 2).max(axis=1)
            self.column_samples *= 2

    @property
    def column_s(self) -> float:
        """Length of one column."""
        return self.column_samples / PHONE_RATE_HZ

    def peaks(self, side: int) -> NDArray[np.float32]:
        """Return the peak of each column, 0 to 1: float32 ``[columns]``; side 0 is the caller, 1 the bot."""
        return self._columns[:, side].astype(np.float32) / np.float32(32_768)

    def clipped_share(self, side: int) -> float:
        """Return the share of a side's non-zero samples at full scale."""
        return float(self._clipped[side] / self._loud[side]) if self._loud[side] else 0.0
