"""A stage that changes the caller's audio, of the phone's format, and lets everything else pass."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from loguru import logger
from numpy.typing import NDArray
from pipecat.frames.frames import Frame, InputAudioRawFrame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from moshi_phone.audio.formats import PHONE_RATE_HZ


class CallerFilter(FrameProcessor, ABC):
    """Filters what the caller says, where it is 16-bit mono at 8 kHz.

    Audio of another format passes, with one warning. A frame of which nothing remains is left out.
    """

    def __init__(self) -> None:
        super().__init__(enable_direct_mode=True)
        self._has_warned = False  # of audio that it cannot work on: once a call

    @abstractmethod
    def filter(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        """Give the next audio filtered; the very same array where nothing changes."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Filter audio on its way in; everything else passes."""
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame) and direction is FrameDirection.DOWNSTREAM:
            if frame.sample_rate != PHONE_RATE_HZ or frame.num_channels != 1:
                self._warn(frame)
            elif (filtered := self.clean(frame.audio)) is not frame.audio:
                if not filtered:
                    return
                frame = InputAudioRawFrame(filtered, PHONE_RATE_HZ, num_channels=1)
        await self.push_frame(frame, direction)

    def clean(self, audio: bytes) -> bytes:
        """Give audio, 16-bit mono at 8 kHz, filtered; the very same bytes where nothing changes."""
        samples = np.frombuffer(audio, "<i2")
        filtered = self.filter(samples)
        return audio if filtered is samples else filtered.astype("<i2", copy=False).tobytes()

    def _warn(self, frame: InputAudioRawFrame) -> None:
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "{} expects mono audio at {} Hz, got {} channels at {} Hz; it passes unchanged. "
                "Put a Resampler before it",
                type(self).__name__,
                PHONE_RATE_HZ,
                frame.num_channels,
                frame.sample_rate,
            )
