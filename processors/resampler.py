"""Changes the sample rate of the audio that passes (``moshi_phone/audio/resampling.py`` says how)."""

from __future__ import annotations

from pipecat.frames.frames import Frame, InputAudioRawFrame, OutputAudioRawFrame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from moshi_phone.audio import pcm
from moshi_phone.audio.resampling import StreamResampler


class Resampling:
    """Resamples one stream of 16-bit mono PCM that comes in pieces of any length. Pure.

    Args:
        in_hz: the rate it takes.
        out_hz: the rate it gives.
    """

    def __init__(self, in_hz: int, out_hz: int) -> None:
        self.in_hz = in_hz
        self._stream = StreamResampler(in_hz, out_hz)
        self._piece_bytes = 2 * self._stream.down  # the filter takes whole multiples of this
        self._rest = b""  # a service's chunks end where they will

    def process(self, audio: bytes) -> bytes:
        """Resample the next piece; what does not fill a whole sample of the output waits for the next one."""
        if self._rest or len(audio) % self._piece_bytes:
            audio = self._rest + audio
            whole = len(audio) // self._piece_bytes * self._piece_bytes
            audio, self._rest = audio[:whole], audio[whole:]
        return pcm.to_bytes(self._stream.process(pcm.to_float(audio)))


class Resampler(FrameProcessor):
    """Resamples every audio frame of its input rate; other frames pass.

    One instance serves one call. A frame keeps its kind; what the caller says and what the bot says are two
    streams and do not run into each other.

    Args:
        in_hz: the rate it takes.
        out_hz: the rate it gives.
    """

    def __init__(self, in_hz: int, out_hz: int) -> None:
        super().__init__(enable_direct_mode=True)
        self._in_hz = in_hz
        self._out_hz = out_hz
        # Two filters: each direction that passes this stage has a history of its own.
        self._inbound = Resampling(in_hz, out_hz)
        self._outbound = Resampling(in_hz, out_hz)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Resample audio on its way; everything else passes."""
        await super().process_frame(frame, direction)
        if (
            isinstance(frame, (InputAudioRawFrame, OutputAudioRawFrame))
            and direction is FrameDirection.DOWNSTREAM
            and frame.sample_rate == self._in_hz
        ):
            stream = self._inbound if isinstance(frame, InputAudioRawFrame) else self._outbound
            audio = stream.process(frame.audio)
            if not audio:
                return
            resampled = type(frame)(audio, self._out_hz, num_channels=1)
            resampled.interruptible = frame.interruptible
            resampled.transport_destination = frame.transport_destination
            resampled.transport_source = frame.transport_source
            frame = resampled
        await self.push_frame(frame, direction)
