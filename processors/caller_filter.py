"""Base of stages that filter the caller's audio in the phone's format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from loguru import logger
from numpy.typing import NDArray
from pipecat.frames.frames import Frame, InputAudioRawFrame
from pipecat.processors.frame_processor import FrameDirection

from moshi_phone.audio.formats import PHONE_RATE_HZ
from processors.stage import Stage


class CallerFilter(Stage, ABC):
    """Filters the caller's audio if it is 16-bit mono at 8 kHz.

    Audio in another format passes, with one warning. A frame whose filtered audio is empty is dropped.

    Attributes:
        takes_any_rate: whether ``clean`` takes audio of any rate.
    """

    takes_any_rate: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self._has_warned = False  # whether the warning was logged; once a call

    @abstractmethod
    def filter(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        """Return the next audio filtered: int16 ``[n]``, 8 kHz; the same array object if unchanged."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Filter incoming audio; other frames pass."""
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame) and direction is FrameDirection.DOWNSTREAM:
            is_rate_known = self.takes_any_rate or frame.sample_rate == PHONE_RATE_HZ
            if not is_rate_known or frame.num_channels != 1:
                self._warn(frame)
            # identity, not equality: an unchanged frame is passed on without a copy
            elif (filtered := self.clean(frame.audio, frame.sample_rate)) is not frame.audio:
                if not filtered:
                    return
                frame = InputAudioRawFrame(filtered, frame.sample_rate, num_channels=1)
        await self.push_frame(frame, direction)

    def clean(self, audio: bytes, rate_hz: int = PHONE_RATE_HZ) -> bytes:  # noqa: ARG002 - for subclasses
        """Return audio filtered: 16-bit mono PCM; the same bytes object if unchanged.

        Args:
            audio: the next audio.
            rate_hz: of it; 8000 unless ``takes_any_rate``.
        """
        samples = np.frombuffer(audio, "<i2")
        filtered = self.filter(samples)
        return audio if filtered is samples else filtered.astype("<i2", copy=False).tobytes()

    def _warn(self, frame: InputAudioRawFrame) -> None:
        if not self._has_warned:
            self._has_warned = True
            expected = "" if self.takes_any_rate else f" at {PHONE_RATE_HZ} Hz"
            remedy = "" if self.takes_any_rate else ". Put a Resampler before it"
            logger.warning(
                "{} expects mono audio{}, got {} channels at {} Hz; it passes unchanged{}",
                type(self).__name__,
                expected,
                frame.num_channels,
                frame.sample_rate,
                remedy,
            )
