"""Trims silence from a stream that is too far ahead of its playback. Pure."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from moshi_phone.audio import pcm
from moshi_phone.audio.formats import PHONE_RATE_HZ
from moshi_phone.audio.silence import SILENCE_RMS

DEFAULT_LEAD_MS = 40.0
SPARE_MS = 3.0  # minimum of the recent leads after trimming
MAX_LEAD_MS = 1_000.0  # beyond this even speech is cut
SLICE_MS = 5
_SILENT_RMS = int(SILENCE_RMS * pcm.FULL_SCALE)  # not tested on Moshi's own silence, which was not available
_PAUSE_KEPT_SLICES = 12  # 60 ms: shorter silences are the stops inside words (p, t, k), not pauses
_WINDOW_MS = 4_000.0  # the lowest lead is that of this window and the one before


class JitterMargin:
    """Computes the surplus of the lead. Pure.

    The lead is a margin against late blocks. The part that even the latest block of the last seconds did not
    need is delay, not margin; so is everything above the target. A block's lateness at sending is known here,
    but not its further delay in the network, so the network's jitter is added to the margin; the target
    excludes the jitter of both directions.

    Args:
        target_ms: the largest margin.
    """

    def __init__(self, target_ms: float) -> None:
        self.target_ms = target_ms
        self._lowest_ms = self._lowest_before_ms = math.inf  # lead of this window, and of the one before
        self._window_ms = 0.0  # audio of this window so far

    def excess_ms(self, lead_ms: float, block_ms: float, jitter_ms: float = 0.0) -> float:
        """Return the surplus.

        Args:
            lead_ms: just before a block is sent.
            block_ms: the block's length.
            jitter_ms: of the network, one way.
        """
        self._lowest_ms = min(self._lowest_ms, lead_ms)
        self._window_ms += block_ms
        unused_ms = 0.0
        if self._lowest_before_ms < math.inf:
            unused_ms = min(self._lowest_ms, self._lowest_before_ms) - SPARE_MS - jitter_ms
        if self._window_ms >= _WINDOW_MS:
            self._lowest_before_ms, self._lowest_ms, self._window_ms = self._lowest_ms, math.inf, 0.0
        over_target_ms = math.ceil((lead_ms - self.target_ms - 2 * jitter_ms) / SLICE_MS) * SLICE_MS
        return max(0.0, over_target_ms, unused_ms)

    def shrunk_by(self, ms: float) -> None:
        """Record that this much of the lead was trimmed."""
        self._lowest_ms -= ms
        self._lowest_before_ms -= ms


class SilenceTrimmer:
    """Trims silence from a stream while its lead is too long; never adds audio. Pure.

    Args:
        target_ms: the longest lead that is not trimmed.

    Attributes:
        trimmed_ms: total of silence trimmed.
    """

    def __init__(self, target_ms: float = DEFAULT_LEAD_MS) -> None:
        self.trimmed_ms = 0
        self._margin = JitterMargin(target_ms)
        self._quiet_slices = 0  # in a row, across blocks

    def trim(
        self,
        samples: NDArray[np.int16],
        lead_ms: float,
        jitter_ms: float = 0.0,
        *,
        rate_hz: int = PHONE_RATE_HZ,
        channels: int = 1,
    ) -> NDArray[np.int16]:
        """Return the part of a block to send.

        Args:
            samples: int16 ``[n]``; the rest after the last whole slice of 5 ms is never cut.
            lead_ms: the other side's remaining buffer before this block.
            jitter_ms: of the network, one way.
            rate_hz: of the block.
            channels: of the block, interleaved.

        Returns:
            int16, as long as the block or shorter by whole slices of 5 ms.
        """
        slice_samples = rate_hz * SLICE_MS // 1000 * channels
        whole = samples.size // slice_samples * slice_samples
        slices = samples[:whole].reshape(-1, slice_samples)
        block_ms = SLICE_MS * samples.size / slice_samples
        excess_ms = self._margin.excess_ms(lead_ms, block_ms, jitter_ms)
        # Squared as floats: 16 bits would wrap around.
        powers = np.add.reduce(np.square(slices, dtype=np.float32), axis=1)
        silent = powers < _SILENT_RMS**2 * slice_samples
        if excess_ms < SLICE_MS and lead_ms <= MAX_LEAD_MS:  # as nearly always
            last_loud = silent.tobytes().rfind(0)
            self._quiet_slices = len(silent) - 1 - last_loud + (self._quiet_slices if last_loud < 0 else 0)
            return samples
        keep = np.ones(len(slices), np.bool_)
        for index, is_silent in enumerate(silent.tolist()):
            self._quiet_slices = self._quiet_slices + 1 if is_silent else 0
            in_pause = self._quiet_slices > _PAUSE_KEPT_SLICES
            if (in_pause and excess_ms >= SLICE_MS) or lead_ms > MAX_LEAD_MS:
                keep[index] = False
                excess_ms -= SLICE_MS
                lead_ms -= SLICE_MS
        cut_ms = SLICE_MS * int(len(keep) - keep.sum())
        if not cut_ms:
            return samples
        self.trimmed_ms += cut_ms
        self._margin.shrunk_by(cut_ms)
        return np.concatenate((slices[keep].ravel(), samples[whole:]))
