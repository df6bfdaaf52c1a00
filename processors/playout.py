"""Keeps the talk quick: what a stall put into Twilio's buffer, the next pause takes out again."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from pipecat.frames.frames import Frame, OutputAudioRawFrame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from processors.frames import PHONE_RATE_HZ, MarkInputFrame, MarkOutputFrame
from processors.playout_clock import PlayoutClock

DEFAULT_LEAD_MS = 40.0
LONGEST_LEAD_MS = 1_000.0  # beyond this even speech is cut
SLICE_MS = 10
_SLICE_SAMPLES = PHONE_RATE_HZ * SLICE_MS // 1000
_SILENT_RMS = 184  # -45 dB of full scale, above Moshi's own room noise
_PAUSE_KEPT_SLICES = 6  # 60 ms: shorter silences are the stops inside words (p, t, k), not pauses
_MARK_EVERY_S = 1.0


class SilenceTrimmer:
    """Takes silence out of a stream while its lead is too long; adds nothing, ever. Pure.

    Args:
        target_ms: the lead it leaves alone, a cushion against late frames.
    """

    def __init__(self, target_ms: float = DEFAULT_LEAD_MS) -> None:
        self.target_ms = target_ms
        self.trimmed_ms = 0
        self._quiet_slices = 0

    def trim(self, samples: NDArray[np.int16], lead_ms: float) -> NDArray[np.int16]:
        """Give back what of a block should be sent.

        Args:
            samples: int16 ``[n]``, 8 kHz; n a multiple of 80 (10 ms), or the rest is never cut.
            lead_ms: what the other side has still to play before this block.

        Returns:
            int16, as long as the block or shorter by whole slices of 10 ms.
        """
        whole = samples.size // _SLICE_SAMPLES * _SLICE_SAMPLES
        slices = samples[:whole].reshape(-1, _SLICE_SAMPLES)
        loudness = np.sqrt(np.square(slices, dtype=np.float32).mean(axis=1))
        keep = np.ones(len(slices), np.bool_)
        for index, rms in enumerate(loudness):
            self._quiet_slices = self._quiet_slices + 1 if rms < _SILENT_RMS else 0
            in_pause = self._quiet_slices > _PAUSE_KEPT_SLICES
            if (in_pause and lead_ms - self.target_ms >= SLICE_MS) or lead_ms > LONGEST_LEAD_MS:
                keep[index] = False
                lead_ms -= SLICE_MS
                self.trimmed_ms += SLICE_MS
        return samples if keep.all() else np.concatenate((slices[keep].ravel(), samples[whole:]))


class PlayoutGovernor(FrameProcessor):
    """Watches the playout lead, trims pauses while it is too long, and sends marks to check it.

    Stands where audio is 8 kHz PCM, as the last stage that changes its length.

    Args:
        target_ms: the lead that is left alone.
        now_s: the clock, in seconds; monotonic.
    """

    def __init__(
        self, target_ms: float = DEFAULT_LEAD_MS, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(enable_direct_mode=True)
        self.clock = PlayoutClock(PHONE_RATE_HZ)
        self.trimmer = SilenceTrimmer(target_ms)
        self._now_s = now_s
        self._next_mark_s = 0.0
        self._marks_sent = 0

    @property
    def lead_ms(self) -> float:
        """Audio that was sent and not played yet, now."""
        return self.clock.lead_ms(self._now_s())

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Trim audio on its way out, and learn from the marks that come back."""
        await super().process_frame(frame, direction)
        if isinstance(frame, MarkInputFrame):
            self.clock.echoed(frame.mark, self._now_s())
        elif isinstance(frame, OutputAudioRawFrame) and direction is FrameDirection.DOWNSTREAM:
            await self._send(frame)
            return
        await self.push_frame(frame, direction)

    async def _send(self, frame: OutputAudioRawFrame) -> None:
        now_s = self._now_s()
        audio = np.frombuffer(frame.audio, "<i2")
        trimmed = self.trimmer.trim(audio, self.clock.lead_ms(now_s))
        if trimmed.size == 0:
            return
        self.clock.sent(trimmed.size, now_s)
        if trimmed is not audio:
            shorter = type(frame)(trimmed.tobytes(), frame.sample_rate, frame.num_channels)
            shorter.metadata.update(frame.metadata)
            frame = shorter
        await self.push_frame(frame)
        if now_s >= self._next_mark_s:
            self._next_mark_s = now_s + _MARK_EVERY_S
            self._marks_sent += 1
            mark = f"played-{self._marks_sent}"
            self.clock.marked(mark, now_s)
            await self.push_frame(MarkOutputFrame(mark))
