"""Changes the sample rate of the audio that passes (``audio/resampling.py`` says how)."""

from __future__ import annotations

from pipecat.frames.frames import Frame, InputAudioRawFrame, OutputAudioRawFrame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from moshi_phone.audio import pcm
from moshi_phone.audio.resampling import StreamResampler


class Resampler(FrameProcessor):
    """Resamples every audio frame of its input rate; other frames pass.

    One instance serves one direction of one call. A frame keeps its kind.

    Args:
        in_hz: the rate it takes.
        out_hz: the rate it gives.
    """

    def __init__(self, in_hz: int, out_hz: int) -> None:
        super().__init__(enable_direct_mode=True)
        self._in_hz = in_hz
        self._out_hz = out_hz
        self._stream = StreamResampler(in_hz, out_hz)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Resample audio on its way; everything else passes."""
        await super().process_frame(frame, direction)
        if (
            isinstance(frame, (InputAudioRawFrame, OutputAudioRawFrame))
            and direction is FrameDirection.DOWNSTREAM
            and frame.sample_rate == self._in_hz
        ):
            frame = self._resampled(frame)
        await self.push_frame(frame, direction)

    def _resampled(self, frame: InputAudioRawFrame | OutputAudioRawFrame) -> Frame:
        audio = pcm.to_bytes(self._stream.process(pcm.to_float(frame.audio)))
        return type(frame)(audio, self._out_hz, num_channels=1)
