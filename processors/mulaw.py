"""µ-law to PCM on the way in, PCM to µ-law on the way out."""

from __future__ import annotations

from pipecat.frames.frames import AudioRawFrame, Frame, InputAudioRawFrame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from moshi_phone.audio import g711
from moshi_phone.audio.formats import PHONE_RATE_HZ
from processors.frames import MulawInputFrame, MulawOutputFrame


class MulawDecoder(FrameProcessor):
    """`MulawInputFrame` in, `InputAudioRawFrame` (16-bit, 8 kHz mono) out."""

    def __init__(self) -> None:
        # Direct, as every stage of the call: with a queue and a task for each, a second of a call took 59 ms
        # of processor time in place of 40.
        super().__init__(enable_direct_mode=True)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Decode the caller's audio; everything else passes."""
        await super().process_frame(frame, direction)
        if isinstance(frame, MulawInputFrame):
            frame = InputAudioRawFrame(g711.decode(frame.mulaw), PHONE_RATE_HZ, num_channels=1)
        await self.push_frame(frame, direction)


class MulawEncoder(FrameProcessor):
    """Audio frames (16-bit, 8 kHz mono) in, `MulawOutputFrame` out."""

    def __init__(self) -> None:
        super().__init__(enable_direct_mode=True)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Encode audio for the caller; everything else passes.

        Raises:
            ValueError: when the audio is not 8 kHz mono; pipecat reports it as an error frame.
        """
        await super().process_frame(frame, direction)
        if isinstance(frame, AudioRawFrame) and direction is FrameDirection.DOWNSTREAM:
            if (frame.sample_rate, frame.num_channels) != (PHONE_RATE_HZ, 1):
                raise ValueError(
                    f"expected {PHONE_RATE_HZ} Hz mono, got {frame.sample_rate} Hz × {frame.num_channels}"
                )
            frame = MulawOutputFrame(g711.encode(frame.audio))
        await self.push_frame(frame, direction)
