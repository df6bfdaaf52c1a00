"""The pipeline's output: sends µ-law audio and marks to Twilio, at once or paced."""

from __future__ import annotations

import asyncio

from loguru import logger
from pipecat.audio.dtmf.utils import load_dtmf_audio
from pipecat.audio.utils import scale_audio
from pipecat.frames.frames import (
    BotSpeakingFrame,
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    CancelFrame,
    EndFrame,
    Frame,
    InterruptionFrame,
    OutputAudioRawFrame,
    OutputDTMFFrame,
    OutputDTMFUrgentFrame,
    OutputImageRawFrame,
    OutputTransportMessageFrame,
    OutputTransportMessageUrgentFrame,
    SpeechOutputAudioRawFrame,
    SpriteFrame,
    StartFrame,
    VolumeFrame,
    VolumeGainFrame,
)
from pipecat.pipeline.pipeline import PipelineSink
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.serializers.base_serializer import FrameSerializer
from pipecat.transports.base_output import BOT_VAD_STOP_SECS, BaseOutputTransport
from pipecat.transports.base_transport import TransportParams

from moshi_phone.audio import g711
from moshi_phone.audio.formats import PHONE_RATE_HZ
from moshi_phone.audio.silence import SILENCE_RMS
from moshi_phone.audio.speech_activity import Change, SpeechActivity
from processors.clip_frames import ClipAudioFrame, as_clip, paced
from processors.frames import MarkOutputFrame, MeasurementFrame, MulawOutputFrame, SendMetricsFrame
from processors.guarded_audio import default_mixer
from processors.line_mixer import LineMixer
from processors.mono import MonoMixer
from processors.socket_writer import SocketWriter
from processors.stage import Stage
from processors.stream_socket import StreamSocket

PACED_AHEAD_S = 0.1  # paced audio in the peer's buffer: a margin against jitter
SPEAKING_EVERY_S = 1.0  # between two BotSpeakingFrames, each of which passes every stage in both directions
FLUSH_S = 1.0  # for unsent messages when the pipeline ends


class TwilioOutput(BaseOutputTransport, Stage):
    """Sends audio and marks as Twilio's messages; everything else is pipecat's own output transport.

    Continuous speech (``MulawOutputFrame`` of ``SpeechOutputAudioRawFrame``) comes in real time and is sent
    at once, without chunks or sleeps. Other audio (of a TTS, a clip) passes pipecat's queue in chunks of 40
    ms and is sent in real time, so that an interruption can stop it; meanwhile, continuous speech is dropped.
    The pipeline never waits for the socket (``socket_writer.py``).

    If a stage follows, sent audio continues downstream as 8 kHz PCM, as in pipecat's own transports.

    Args:
        stream: holds the socket.
        serializer: of the same stream.
        params: as for ``TwilioTransport``.
    """

    reads = (MeasurementFrame,)
    takes_mulaw = True  # MulawEncoder looks for it

    def __init__(self, stream: StreamSocket, serializer: FrameSerializer, params: TransportParams) -> None:
        if mixer := default_mixer(params):
            params = params.model_copy(update={"audio_out_mixer": LineMixer(mixer, self._speech_flows)})
        super().__init__(params)
        self._mixer = mixer  # mixed into continuous speech here; pipecat's queue mixes it into other audio
        self._serializer = serializer
        self._socket = SocketWriter(stream)
        self._writer: asyncio.Task[None] | None = None
        self._activity = SpeechActivity(BOT_VAD_STOP_SECS)  # of the bot, for pipecat's Bot… frames
        self._said_speaking_s = 0.0  # time of the last BotSpeakingFrame
        self._speech_s = -1.0  # time of the last continuous speech
        self._paced_until_s = 0.0  # end of playback of the paced audio sent so far
        self._clip_until_s = 0.0  # the same, without a mixer's own audio
        self._uninterruptible_until_s = 0.0  # the same, for uninterruptible frames only
        self._is_last = False  # whether no stage follows, so that sent audio need not be decoded
        self._volume, self._volume_gain = params.audio_out_volume, 1.0
        self._mono = MonoMixer(self.name)
        self._told: set[str] = set()  # mistakes of the pipeline that were logged, so that each is logged once

    def forget_unsent(self) -> None:
        """Discard unsent messages: they belong to a lost stream."""
        self._socket.clear()

    @property
    def dropped_messages(self) -> int:
        """Number of messages never sent, because the peer did not read."""
        return self._socket.dropped_messages

    @property
    def clip_until_s(self) -> float:
        """Time of the event loop at which the clips sent so far have been played; 0 without any."""
        return self._clip_until_s

    async def start(self, frame: StartFrame) -> None:
        """Start the writer, and accept paced audio."""
        await super().start(frame)
        self._is_last = _is_last(self)
        self._writer = self.create_task(self._socket.run())
        await self.set_transport_ready(frame)

    async def stop(self, frame: EndFrame) -> None:
        """Send what is queued, wait for its playback, and stop the writer."""
        try:
            await super().stop(frame)  # waits for the audio task
        except asyncio.CancelledError:
            if (waiting := asyncio.current_task()) and waiting.cancelling():
                raise
            return  # a CancelFrame came meanwhile, and cancelled the audio task instead of this one
        await asyncio.sleep(max(0.0, self._paced_until_s - self._now_s()))
        await self._socket.flush(FLUSH_S)
        await self._stop_writing()

    async def cancel(self, frame: CancelFrame) -> None:
        """Stop the writer at once."""
        await super().cancel(frame)
        await self._stop_writing()

    async def cleanup(self) -> None:
        """Stop the writer, however the pipeline ended."""
        await super().cleanup()  # type: ignore[no-untyped-call]
        await self._stop_writing()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Send continuous speech and marks at once; pass other frames to pipecat's queue."""
        if direction is FrameDirection.DOWNSTREAM:
            if isinstance(frame, MulawOutputFrame):
                await Stage.process_frame(self, frame, direction)  # for observers
                await self._take_mulaw(frame)
                return
            if isinstance(frame, MarkOutputFrame):
                await Stage.process_frame(self, frame, direction)
                await self._send(frame)
                return
            if isinstance(frame, MeasurementFrame):
                return  # all observers have seen it; later stages do not know it
            if isinstance(frame, (VolumeFrame, VolumeGainFrame)):
                self._set_volume(frame)
            elif isinstance(frame, (OutputImageRawFrame, SpriteFrame)):
                self._tell(
                    "Twilio's stream carries audio only: images are not sent; they need a transport that "
                    "carries video, such as pipecat's SmallWebRTC"
                )
            elif isinstance(frame, OutputAudioRawFrame):
                self._mono.mix(frame)
                frame = as_clip(frame)
                self._tell(
                    "PCM audio reached transport.output(), which encodes it but sends it later than it must; "
                    "put MulawEncoder() before it"
                )
        await super().process_frame(frame, direction)
        if isinstance(frame, InterruptionFrame):
            await self._interrupt(frame)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        """Send a chunk of paced audio (16-bit PCM, 8 kHz) when it is due."""
        is_mixer_only = type(frame) is OutputAudioRawFrame and self._mixer is not None
        if is_mixer_only and self._speech_flows():
            await asyncio.sleep(PACED_AHEAD_S)  # in short steps: pipecat limits a write to 10 s
            return False
        now_s = self._now_s()
        # Paced by deadlines, not by pauses: a late wake-up does not delay the next chunk.
        self._paced_until_s = max(self._paced_until_s, now_s) + len(frame.audio) / (2 * PHONE_RATE_HZ)
        if not is_mixer_only:
            self._clip_until_s = self._paced_until_s
        if not frame.interruptible:
            self._uninterruptible_until_s = self._paced_until_s
        await self._send(MulawOutputFrame(g711.encode(frame.audio)))
        await asyncio.sleep(max(0.0, self._paced_until_s - PACED_AHEAD_S - now_s))
        return True

    async def write_dtmf(self, frame: OutputDTMFFrame | OutputDTMFUrgentFrame) -> None:
        """Play the keys' tones: Twilio's stream has no message for outgoing keys."""
        if isinstance(frame, OutputDTMFUrgentFrame):
            # In a task: later frames must not wait until the tones have been played.
            self.create_task(self._play_keys(frame))
        else:
            await self._play_keys(frame)

    async def send_message(
        self,
        frame: OutputTransportMessageFrame | OutputTransportMessageUrgentFrame,  # noqa: ARG002
    ) -> None:
        """Warn once that Twilio carries no application messages, including RTVI's."""
        self._tell(
            "Twilio's stream carries audio only: messages of an application (RTVI's too) are not sent; they "
            "need a transport that carries data, such as pipecat's SmallWebRTC"
        )

    async def _play_keys(self, frame: OutputDTMFFrame | OutputDTMFUrgentFrame) -> None:
        for key in frame.buttons or ():
            tone = await load_dtmf_audio(key, sample_rate=PHONE_RATE_HZ)
            await self.write_audio_frame(ClipAudioFrame(tone, PHONE_RATE_HZ, num_channels=1))

    async def _take_mulaw(self, frame: MulawOutputFrame) -> None:
        if not issubclass(frame.kind, SpeechOutputAudioRawFrame):
            await super().process_frame(paced(frame), FrameDirection.DOWNSTREAM)
            return
        now_s = self._now_s()
        if now_s < self._clip_until_s:
            return  # a clip is playing: sending both would delay each
        self._speech_s = now_s
        if self._mixer or self._params.audio_out_filter or self._volume * self._volume_gain != 1.0:
            frame.mulaw = g711.encode(await self._shaped(g711.decode(frame.mulaw)))
        await self._send(frame)
        await self._follow_speech(frame)
        if self._is_last:
            return
        await self.push_frame(
            SpeechOutputAudioRawFrame(g711.decode(frame.mulaw), PHONE_RATE_HZ, num_channels=1)
        )

    def _speech_flows(self) -> bool:
        return self._now_s() < self._speech_s + 2 * PACED_AHEAD_S

    async def _shaped(self, audio: bytes) -> bytes:
        """Process continuous speech like pipecat's queue processes other audio, in the same order."""
        if self._params.audio_out_filter:
            audio = await self._params.audio_out_filter.filter(audio)
        if (volume := self._volume * self._volume_gain) != 1.0:
            audio = scale_audio(audio, volume)
        return await self._mixer.mix(audio) if self._mixer else audio

    async def _follow_speech(self, frame: MulawOutputFrame) -> None:
        loud = frame.power > SILENCE_RMS**2
        match self._activity.add(loud=loud, audio_s=len(frame.mulaw) / PHONE_RATE_HZ):
            case Change.STARTED:
                await self.broadcast_frame(BotStartedSpeakingFrame)
            case Change.STOPPED:
                await self.broadcast_frame(BotStoppedSpeakingFrame)
        if loud and self._now_s() - self._said_speaking_s >= SPEAKING_EVERY_S:
            self._said_speaking_s = self._now_s()
            await self.broadcast_frame(BotSpeakingFrame)

    async def _interrupt(self, frame: InterruptionFrame) -> None:
        if self._now_s() >= self._uninterruptible_until_s:  # otherwise, clearing would cut it
            self._socket.clear()
            await self._send(frame)
            self._paced_until_s = self._clip_until_s = 0.0
        if self._activity.stop():
            await self.broadcast_frame(BotStoppedSpeakingFrame)

    async def _send(self, frame: Frame) -> None:
        message = await self._serializer.serialize(frame)
        if message and not self._socket.send(message):
            # Upstream, because the measuring stages come before this one.
            await self.push_frame(SendMetricsFrame(self.dropped_messages), FrameDirection.UPSTREAM)

    def _set_volume(self, frame: VolumeFrame | VolumeGainFrame) -> None:
        if isinstance(frame, VolumeFrame):
            self._volume = frame.volume
        else:
            self._volume_gain = frame.gain

    def _tell(self, mistake: str) -> None:
        if mistake not in self._told:
            self._told.add(mistake)
            logger.warning("{}", mistake)

    async def _stop_writing(self) -> None:
        if self._writer is not None:
            writer, self._writer = self._writer, None
            await self.cancel_task(writer)

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()


def _is_last(stage: FrameProcessor) -> bool:
    """Return whether only the sinks of (nested) pipelines follow a stage."""
    behind: FrameProcessor | None = stage.next
    while isinstance(behind, PipelineSink):  # a nested pipeline: continue behind its owner
        owner = getattr(behind._downstream_push_frame, "__self__", None)
        behind = owner.next if isinstance(owner, FrameProcessor) else None
    return behind is None
