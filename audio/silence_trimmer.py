"""Takes silence out of a stream that lies too far ahead of its playing. Pure."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from audio import pcm
from audio.formats import PHONE_RATE_HZ
from audio.silence import SILENCE_RMS

DEFAULT_LEAD_MS = 40.0
SPARE_MS = 3.0  # what the lowest lead of late is left at
LONGEST_LEAD_MS = 1_000.0  # beyond this even speech is cut
SLICE_MS = 5
_SLICE_SAMPLES = PHONE_RATE_HZ * SLICE_MS // 1000
_SILENT_RMS = int(SILENCE_RMS * pcm.FULL_SCALE)  # not tried on Moshi's own silence, which could not be had
_PAUSE_KEPT_SLICES = 12  # 60 ms: shorter silences are the stops inside words (p, t, k), not pauses
_WINDOW_BLOCKS = 50  # 4 s; the lowest lead is that of this window and the one before


class JitterMargin:
    """How much of the lead is more than needed. Pure.

    The lead is a cushion: each block takes as much of it as the block is late. What not even the latest
    block of the last seconds took is not cushion but delay, and what lies above the target is, too.

    Args:
        target_ms: the longest cushion.
    """

    def __init__(self, target_ms: float) -> None:
        self.target_ms = target_ms
        self._lowest_ms = self._lowest_before_ms = math.inf
        self._blocks = 0

    def excess_ms(self, lead_ms: float) -> float:
        """Say how much could go, given the lead just before a block is sent."""
        self._lowest_ms = min(self._lowest_ms, lead_ms)
        self._blocks += 1
        unused_ms = 0.0
        if self._lowest_before_ms < math.inf:
            unused_ms = min(self._lowest_ms, self._lowest_before_ms) - SPARE_MS
        if self._blocks >= _WINDOW_BLOCKS:
            self._lowest_before_ms, self._lowest_ms, self._blocks = self._lowest_ms, math.inf, 0
        over_target_ms = math.ceil((lead_ms - self.target_ms) / SLICE_MS) * SLICE_MS
        return max(0.0, over_target_ms, unused_ms)

    def shrunk_by(self, ms: float) -> None:
        """Take note that so much was taken out of the lead."""
        self._lowest_ms -= ms
        self._lowest_before_ms -= ms


class SilenceTrimmer:
    """Takes silence out of a stream while its lead is too long; adds nothing, ever. Pure.

    Args:
        target_ms: the longest lead it leaves alone.
    """

    def __init__(self, target_ms: float = DEFAULT_LEAD_MS) -> None:
        self.trimmed_ms = 0
        self._margin = JitterMargin(target_ms)
        self._quiet_slices = 0

    def trim(self, samples: NDArray[np.int16], lead_ms: float) -> NDArray[np.int16]:
        """Give back what of a block should be sent.

        Args:
            samples: int16 ``[n]``, 8 kHz; n a multiple of 40 (5 ms), or the rest is never cut.
            lead_ms: what the other side has still to play before this block.

        Returns:
            int16, as long as the block or shorter by whole slices of 5 ms.
        """
        whole = samples.size // _SLICE_SAMPLES * _SLICE_SAMPLES
        slices = samples[:whole].reshape(-1, _SLICE_SAMPLES)
        silent = np.square(slices, dtype=np.float32).mean(axis=1) < _SILENT_RMS**2
        keep = np.ones(len(slices), np.bool_)
        excess_ms = self._margin.excess_ms(lead_ms)
        for index, is_silent in enumerate(silent):
            self._quiet_slices = self._quiet_slices + 1 if is_silent else 0
            in_pause = self._quiet_slices > _PAUSE_KEPT_SLICES
            if (in_pause and excess_ms >= SLICE_MS) or lead_ms > LONGEST_LEAD_MS:
                keep[index] = False
                excess_ms -= SLICE_MS
                lead_ms -= SLICE_MS
        cut_ms = SLICE_MS * int(len(keep) - keep.sum())
        if not cut_ms:
            return samples
        self.trimmed_ms += cut_ms
        self._margin.shrunk_by(cut_ms)
        return np.concatenate((slices[keep].ravel(), samples[whole:]))
