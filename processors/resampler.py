"""Changes the sample rate of a stream by a whole factor, with a constant and small lag.

The phone carries 300 to 3,400 Hz at 8 kHz and Moshi speaks at 24 kHz, so one low-pass filter serves both
ways: flat to 3,400 Hz, closed at 4,600 Hz, where the mirror image of 3,400 Hz lies. That is little to ask,
and so 73 coefficients (3 ms at 24 kHz) are enough, and the lag is half of it: 1.5 ms. Resamplers made for
music keep more and take longer: libsamplerate's ``sinc_medium`` 5.9 ms, soxr's VHQ 152 ms, in lumps
(``benchmarks/resamplers.py`` compares them).
"""

from __future__ import annotations

from pipecat.frames.frames import Frame, InputAudioRawFrame, OutputAudioRawFrame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from audio import pcm
from audio.resampling import StreamResampler


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
