"""Converts µ-law to PCM on the way in, and PCM to µ-law on the way out."""

from __future__ import annotations

from typing import Any

from loguru import logger
from pipecat.frames.frames import Frame, InputAudioRawFrame, OutputAudioRawFrame, StartFrame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from moshi_phone.audio import g711
from moshi_phone.audio.formats import PHONE_RATE_HZ
from processors.chain import output_behind
from processors.fixed_rate import warn_of_other_rates
from processors.frames import MulawInputFrame, MulawOutputFrame
from processors.mono import MonoMixer
from processors.resampler import Resampling
from processors.stage import Stage


class MulawDecoder(Stage):
    """`MulawInputFrame` in, `InputAudioRawFrame` (16-bit, 8 kHz mono) out."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Decode the caller's audio; other frames pass."""
        await super().process_frame(frame, direction)
        if isinstance(frame, MulawInputFrame):
            frame = InputAudioRawFrame(frame.pcm, PHONE_RATE_HZ, num_channels=1)
        await self.push_frame(frame, direction)
        if isinstance(frame, StartFrame):
            warn_of_other_rates(self, PHONE_RATE_HZ)


class MulawEncoder(Stage):
    """`OutputAudioRawFrame` (16-bit PCM, mono) in, `MulawOutputFrame` out; the caller's own audio passes.

    Audio of another rate than 8 kHz is resampled here, with one warning: a ``Resampler`` belongs before it.
    Several channels are mixed to one, with a warning too.

    Args:
        kwargs: of ``FrameProcessor``, such as ``name``.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._resampler: Resampling | None = None  # only if the pipeline lacks a Resampler
        self._mono = MonoMixer(self.name)
        self._odd_byte = b""  # half a sample from a service with unaligned chunks

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Encode audio for the caller; other frames pass."""
        await super().process_frame(frame, direction)
        if isinstance(frame, OutputAudioRawFrame) and direction is FrameDirection.DOWNSTREAM:
            if (encoded := self._encode(frame)) is None:  # less than one sample so far
                return
            frame = encoded
        await self.push_frame(frame, direction)
        if isinstance(frame, StartFrame) and (output := self._pcm_output()):
            await self.push_error(
                f"{output.name} expects PCM audio, and MulawEncoder() stands before it: only TwilioTransport "
                "takes µ-law, pipelines.any_transport is the list for others",
                force_treat_as_permanent=True,
            )

    def _pcm_output(self) -> FrameProcessor | None:
        """Return the output that follows if it does not support µ-law, and so would discard the audio."""
        output = output_behind(self)
        return None if getattr(output, "takes_mulaw", False) else output

    def _encode(self, frame: OutputAudioRawFrame) -> MulawOutputFrame | None:
        self._mono.mix(frame)
        audio = self._odd_byte + frame.audio
        self._odd_byte = audio[len(audio) & ~1 :]
        audio = audio[: len(audio) & ~1]
        if frame.sample_rate != PHONE_RATE_HZ:
            audio = self._resampled(audio, frame.sample_rate)
        if not audio:
            return None
        encoded = MulawOutputFrame(g711.encode(audio), type(frame))
        encoded.interruptible = frame.interruptible
        encoded.transport_destination = frame.transport_destination
        return encoded

    def _resampled(self, audio: bytes, rate_hz: int) -> bytes:
        if self._resampler is None:
            logger.warning(
                "MulawEncoder expects {0} Hz, got {1} Hz, and resamples; put Resampler({1}, {0}) before it",
                PHONE_RATE_HZ,
                rate_hz,
            )
        if self._resampler is None or self._resampler.in_hz != rate_hz:
            self._resampler = Resampling(rate_hz, PHONE_RATE_HZ)
        return self._resampler.process(audio)
