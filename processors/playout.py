"""Keeps the talk quick: what a stall put into Twilio's buffer, the next pause takes out again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
from pipecat.frames.frames import Frame, OutputAudioRawFrame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from audio.formats import PHONE_RATE_HZ
from audio.playout_clock import PlayoutClock
from audio.silence_trimmer import DEFAULT_LEAD_MS, SilenceTrimmer
from processors.frames import MarkInputFrame, MarkOutputFrame

_MARK_EVERY_S = 1.0


class PlayoutGovernor(FrameProcessor):
    """Watches the playout lead, trims pauses while it is too long, and sends marks to check it.

    Stands where audio is 8 kHz PCM, as the last stage that changes its length.

    Args:
        target_ms: the longest lead that is left alone.
        now_s: the clock, in seconds; the event loop's own unless told otherwise.
    """

    def __init__(self, target_ms: float = DEFAULT_LEAD_MS, now_s: Callable[[], float] | None = None) -> None:
        super().__init__(enable_direct_mode=True)
        self.clock = PlayoutClock(PHONE_RATE_HZ)
        self.trimmer = SilenceTrimmer(target_ms)
        self._now_s = now_s or (lambda: asyncio.get_running_loop().time())
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
        frame.metadata["trimmed_ms"] = self.trimmer.trimmed_ms
        await self.push_frame(frame)
        if now_s >= self._next_mark_s:
            self._next_mark_s = now_s + _MARK_EVERY_S
            self._marks_sent += 1
            mark = f"played-{self._marks_sent}"
            self.clock.marked(mark, now_s)
            await self.push_frame(MarkOutputFrame(mark))
