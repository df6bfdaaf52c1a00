"""Changes the sample rate of passing audio (method: ``moshi_phone/audio/resampling.py``)."""

from __future__ import annotations

from copy import copy
from typing import Any

from pipecat.frames.frames import Frame, InputAudioRawFrame, OutputAudioRawFrame, StartFrame
from pipecat.processors.frame_processor import FrameDirection

from moshi_phone.audio import pcm
from moshi_phone.audio.resampling import StreamResampler
from processors.fixed_rate import warn_of_other_rates
from processors.frames import FilterDelayFrame
from processors.mono import MonoMixer
from processors.stage import Stage


class Resampling:
    """Resamples one stream of 16-bit mono PCM in pieces of any length. Pure.

    Args:
        in_hz: input rate.
        out_hz: output rate.

    Attributes:
        delay_ms: by how much the output is later than the input.
    """

    def __init__(self, in_hz: int, out_hz: int) -> None:
        self.in_hz = in_hz
        self._stream = StreamResampler(in_hz, out_hz)
        self.delay_ms = self._stream.lag_ms
        self._piece_bytes = 2 * self._stream.down  # the filter takes multiples of this
        self._rest = b""  # end of a chunk that is no such multiple

    def process(self, audio: bytes) -> bytes:
        """Resample the next piece; bytes that do not complete an output sample wait for the next one."""
        if self._rest or len(audio) % self._piece_bytes:
            audio = self._rest + audio
            whole = len(audio) // self._piece_bytes * self._piece_bytes
            audio, self._rest = audio[:whole], audio[whole:]
        return pcm.to_bytes(self._stream.process(pcm.to_float(audio)))


class Resampler(Stage):
    """Resamples every audio frame with its input rate; other frames pass.

    One instance serves one call. A frame keeps its class. The caller's and the bot's audio are separate
    streams; a ``FilterDelayFrame`` precedes each.

    Args:
        in_hz: input rate.
        out_hz: output rate.
        kwargs: of ``FrameProcessor``, such as ``name``.

    Attributes:
        in_hz: input rate.
    """

    def __init__(self, in_hz: int, out_hz: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.in_hz = in_hz
        self._out_hz = out_hz
        # Two filters: each direction has its own history.
        self._inbound = Resampling(in_hz, out_hz)
        self._outbound = Resampling(in_hz, out_hz)
        self._mono = MonoMixer(self.name)
        self._reported = set[Resampling]()  # streams whose delay the meter knows

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Resample passing audio, mixed to mono; other frames pass."""
        await super().process_frame(frame, direction)
        if (
            isinstance(frame, (InputAudioRawFrame, OutputAudioRawFrame))
            and direction is FrameDirection.DOWNSTREAM
            and frame.sample_rate == self.in_hz
        ):
            self._mono.mix(frame)
            stream = self._inbound if isinstance(frame, InputAudioRawFrame) else self._outbound
            if stream not in self._reported:
                self._reported.add(stream)
                await self.push_frame(FilterDelayFrame(stream.delay_ms))
            audio = stream.process(frame.audio)
            if not audio:  # less than one output sample so far
                return
            resampled = copy(frame)  # a frame of the user's own class may have more fields
            resampled.audio, resampled.sample_rate = audio, self._out_hz
            resampled.num_frames = len(audio) // 2
            frame = resampled
        await self.push_frame(frame, direction)
        if isinstance(frame, StartFrame):
            warn_of_other_rates(self, self._out_hz)
