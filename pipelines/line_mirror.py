"""The phone line without an engine: callers hear themselves, through all other stages.

It differs from ``phone_call`` in one line, which is all that an experiment needs.
"""

from __future__ import annotations

from pipecat.frames.frames import Frame, InputAudioRawFrame, SpeechOutputAudioRawFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from moshi_phone.audio.formats import PHONE_RATE_HZ, SAMPLE_RATE_HZ
from pipelines.call_parts import CallParts
from processors.mulaw import MulawDecoder, MulawEncoder
from processors.playout import PlayoutGovernor
from processors.resampler import Resampler


class Mirror(FrameProcessor):
    """Sends the caller's audio back."""

    def __init__(self) -> None:
        super().__init__(enable_direct_mode=True)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Turn the caller's audio into speech for the caller."""
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            frame = SpeechOutputAudioRawFrame(frame.audio, frame.sample_rate, frame.num_channels)
        await self.push_frame(frame, direction)


def line_mirror(parts: CallParts) -> Pipeline:
    """Assemble the call with a mirror in place of the engine."""
    return Pipeline(
        [
            parts.transport.input(),
            MulawDecoder(),
            Resampler(PHONE_RATE_HZ, SAMPLE_RATE_HZ),
            Mirror(),  # ← the one line
            Resampler(SAMPLE_RATE_HZ, PHONE_RATE_HZ),
            PlayoutGovernor(),
            MulawEncoder(),
            parts.transport.output(),
        ]
    )
