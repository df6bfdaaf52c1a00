"""Twilio's JSON messages as frames, and back."""

from __future__ import annotations

import asyncio

from loguru import logger
from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.frames.frames import Frame, InputDTMFFrame, InterruptionFrame
from pipecat.serializers.base_serializer import FrameSerializer

from moshi_phone.audio import g711
from moshi_phone.audio.formats import PHONE_FRAME_SAMPLES, PHONE_RATE_HZ
from moshi_phone.audio.packet_assembler import PacketAssembler
from moshi_phone.telephony import media_stream
from processors.frames import MarkInputFrame, MarkOutputFrame, MulawInputFrame, MulawOutputFrame

STOPPED = "on_stopped"
VIOLATED = "on_violated"
AHEAD_SECS = 10.0  # of audio ahead of real time: no phone sends that, and it would be recorded and answered

Taken = MulawInputFrame | media_stream.Event | media_stream.BadMessage
"""A whole frame of the caller's audio, or a message that needs the call's task."""


class TwilioSerializer(FrameSerializer):
    """Converts Twilio's JSON to µ-law frames and back. Never raises on any input.

    Invalid messages, and media that is not the caller's, are counted, logged once a call, and skipped. Two
    events report the rest: ``on_stopped`` when Twilio ends the stream, ``on_violated`` (with a sentence) on a
    message that is impossible in a running stream.

    Args:
        stream_sid: from Twilio's ``start`` message.

    Attributes:
        packets: assembles the caller's packets.
        bad_messages: number of invalid messages.
        foreign_media: number of packets of another stream or track.
        media_s: arrival of the caller's last media, on the event loop's clock.
        audio_s: arrival of the caller's last audio or substituted silence, on the same clock.
        is_stopped: whether Twilio has ended the stream.
    """

    def __init__(self, stream_sid: str) -> None:
        super().__init__()
        self.packets = PacketAssembler()
        self.bad_messages = 0
        self.foreign_media = 0
        self.restart(stream_sid)
        self._register_event_handler(STOPPED)
        self._register_event_handler(VIOLATED)

    def restart(self, stream_sid: str) -> None:
        """Continue with another stream of the same call."""
        self.is_stopped = False
        self.packets.restart()
        self.media_s = self.audio_s = asyncio.get_running_loop().time()
        self._began_s = 0.0  # arrival of the stream's first media
        self._audio_s = 0.0  # length of the audio since then
        self._stream_sid = stream_sid
        self._media_bytes = self._mulaw_bytes = 0  # of the last packet: of its message, and of its audio
        self._mark = ""  # the newest mark that Twilio has not acknowledged

    def silence(self) -> MulawInputFrame:
        """Return 80 ms of silence in place of the caller's audio, behind the last audio."""
        self.audio_s = asyncio.get_running_loop().time()
        return MulawInputFrame(self.packets.push(bytes([g711.SILENCE]) * PHONE_FRAME_SAMPLES, None))

    async def serialize(self, frame: Frame) -> str | bytes | None:
        """Convert µ-law audio, marks and interruptions to Twilio's JSON; return None for other frames."""
        match frame:
            case MulawOutputFrame():
                return media_stream.media(self._stream_sid, frame.mulaw)
            case MarkOutputFrame():
                self._mark = frame.mark
                return media_stream.mark(self._stream_sid, frame.mark)
            case InterruptionFrame():  # from a stage of another pipeline; Moshi never interrupts itself
                return media_stream.clear(self._stream_sid)
        return None

    async def deserialize(self, data: str | bytes) -> Frame | None:
        """Convert a message from Twilio to a frame; None if there is nothing to pass on."""
        taken = self.take(data)
        return None if taken is None else await self.frame_of(taken)

    def take(self, data: str | bytes) -> Taken | None:
        """Take a message as it arrives, outside of the call's task; most complete no frame.

        Returns:
            What ``frame_of`` converts in the call's task; None for a packet that completes no frame.
        """
        try:
            event = media_stream.parse(data)
        except media_stream.BadMessage as bad:
            return bad
        if not isinstance(event, media_stream.Media) or not event.is_from_caller(self._stream_sid):
            if isinstance(event, media_stream.Mark) and event.name == self._mark:
                self._mark = ""
            return event
        self.media_s = self.audio_s = asyncio.get_running_loop().time()
        self._began_s = self._began_s or self.media_s
        mulaw = self.packets.push(event.mulaw, event.timestamp_ms)
        self._media_bytes, self._mulaw_bytes = len(data), len(event.mulaw)
        self._audio_s += len(event.mulaw) / PHONE_RATE_HZ
        came_s = self._audio_s + self.packets.filled_ms / 1000  # gaps are filled with silence
        if came_s - (self.media_s - self._began_s) > AHEAD_SECS:
            return event
        return MulawInputFrame(mulaw) if mulaw else None

    def awaited_bytes(self) -> int:
        """Return how much must arrive before the next whole frame; 0 if any message may matter.

        An expected acknowledgement matters: its time of arrival shows what the caller has heard.
        """
        if self._mark or not self._mulaw_bytes:
            return 0
        packets = -(-self.packets.missing_bytes // self._mulaw_bytes)
        # Less a part of the last message, since their lengths vary by a few digits.
        return packets * self._media_bytes - self._media_bytes // 4 if packets > 1 else 0

    async def frame_of(self, taken: Taken) -> Frame | None:
        """Convert what ``take`` returned to a frame; None if there is nothing to pass on."""
        try:
            match taken:
                case MulawInputFrame():
                    return taken
                case media_stream.BadMessage():
                    raise taken
                case media_stream.Media():
                    await self._refuse(taken)
                case media_stream.Mark():
                    return MarkInputFrame(taken.name)
                case media_stream.Dtmf():
                    return InputDTMFFrame(_key(taken.digit))
                case media_stream.Stop():
                    self.is_stopped = True
                    await self._call_event_handler(STOPPED)
                case media_stream.Start():
                    await self._call_event_handler(VIOLATED, "expected one start, got a second")
                case media_stream.Connected():
                    pass
        except media_stream.BadMessage as bad:
            self.bad_messages += 1
            if self.bad_messages == 1:
                logger.warning("Skipped a message of the stream: {}; further ones are only counted", bad)
        return None

    async def _refuse(self, media: media_stream.Media) -> None:
        if media.is_from_caller(self._stream_sid):
            await self._call_event_handler(VIOLATED, f"audio came {AHEAD_SECS:g} s ahead of its time")
            return
        self.foreign_media += 1
        if self.foreign_media == 1:
            logger.warning(
                "Skipped media that is not the caller's ({}); further ones are only counted",
                "another stream" if media.track in (None, media_stream.INBOUND) else "another track",
            )


def _key(digit: str) -> KeypadEntry:
    try:
        return KeypadEntry(digit)
    except ValueError as error:
        raise media_stream.BadMessage(f"expected a key of a phone, got {digit[:10]!r}") from error
