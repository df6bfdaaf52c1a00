"""Keeps continuous speech from waiting behind a clip, on pipecat's own transports."""

from __future__ import annotations

import asyncio
from typing import Any

from pipecat.frames.frames import (
    Frame,
    InterruptionFrame,
    OutputAudioRawFrame,
    OutputDTMFFrame,
    OutputDTMFUrgentFrame,
    SpeechOutputAudioRawFrame,
)
from pipecat.processors.frame_processor import FrameDirection

from processors.chain import output_behind
from processors.stage import Stage

KEY_S = 0.5  # length of each of pipecat's tones


class ClipPriority(Stage):
    """Drops continuous speech while other audio (of a TTS, a clip, a key) is played.

    pipecat's transports play one queue in order, in real time. Speech behind a clip would be late by the
    clip's length, for the rest of the call. The phone's transport does the same itself.

    Args:
        kwargs: of ``FrameProcessor``, such as ``name``.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._clip_until_s = 0.0  # end of playback of the clips so far, on the event loop's clock
        self._uninterruptible_until_s = 0.0  # the same, of uninterruptible frames only

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Drop speech during a clip; other frames pass."""
        await super().process_frame(frame, direction)
        if isinstance(frame, SpeechOutputAudioRawFrame):
            if self._now_s() < self._clip_until_s:
                return
        elif isinstance(frame, OutputAudioRawFrame) and direction is FrameDirection.DOWNSTREAM:
            self._add(frame)
        elif isinstance(frame, (OutputDTMFFrame, OutputDTMFUrgentFrame)) and self._plays_keys():
            self._clip_until_s = max(self._clip_until_s, self._now_s()) + KEY_S * len(frame.buttons or ())
        elif isinstance(frame, InterruptionFrame):
            self._clip_until_s = self._uninterruptible_until_s
        await self.push_frame(frame, direction)

    def _add(self, frame: OutputAudioRawFrame) -> None:
        length_s = frame.num_frames / frame.sample_rate
        self._clip_until_s = max(self._clip_until_s, self._now_s()) + length_s
        if not frame.interruptible:
            self._uninterruptible_until_s = self._clip_until_s

    def _plays_keys(self) -> bool:
        """Return whether the output plays keys as their tones; others send them as messages."""
        output = output_behind(self)
        return output is not None and not output._supports_native_dtmf()

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()
