"""Twilio's side of the call as pipecat parts: the serializer, and the WebSocket as a pipeline's two ends."""

from __future__ import annotations

import asyncio
from collections import deque

from fastapi import WebSocket, WebSocketDisconnect
from loguru import logger
from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    Frame,
    InputDTMFFrame,
    InterruptionFrame,
    StartFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.serializers.base_serializer import FrameSerializer
from pipecat.transports.base_transport import BaseTransport

from moshi_phone.audio.packet_assembler import PacketAssembler
from moshi_phone.telephony import media_stream
from processors.frames import (
    MarkInputFrame,
    MarkOutputFrame,
    MeasurementFrame,
    MulawInputFrame,
    MulawOutputFrame,
)

STOPPED = "on_stopped"
VIOLATED = "on_violated"
DISCONNECTED = "on_client_disconnected"
UNSENT_MESSAGES = 16  # 1.2 s of speech with its marks: whoever is further behind hears what is new instead


class TwilioSerializer(FrameSerializer):
    """Twilio's JSON to µ-law frames and back; never raises, whatever comes.

    What cannot be understood, and media that is not the caller's, is counted, logged once a call, and
    skipped. Two events tell of the rest: ``on_stopped`` when Twilio says that the stream is over,
    ``on_violated`` (with a sentence) when what comes makes no sense in a running stream.

    Args:
        stream_sid: from Twilio's ``start`` message.

    Attributes:
        packets: gathers the caller's packets.
        bad_messages: how many could not be understood.
        foreign_media: how many packets were of another stream, or of another track than the caller's.
        media_s: when the caller's last media came, on the event loop's clock.
    """

    def __init__(self, stream_sid: str) -> None:
        super().__init__()
        self.packets = PacketAssembler()
        self.bad_messages = 0
        self.foreign_media = 0
        self.media_s = asyncio.get_running_loop().time()
        self._stream_sid = stream_sid
        self._register_event_handler(STOPPED)
        self._register_event_handler(VIOLATED)

    async def serialize(self, frame: Frame) -> str | bytes | None:
        """Turn µ-law audio, marks and interruptions into Twilio's JSON; other frames say nothing to it."""
        match frame:
            case MulawOutputFrame():
                return media_stream.media(self._stream_sid, frame.mulaw)
            case MarkOutputFrame():
                return media_stream.mark(self._stream_sid, frame.mark)
            case InterruptionFrame():  # Moshi never breaks itself off; a stage of another pipeline may
                return media_stream.clear(self._stream_sid)
        return None

    async def deserialize(self, data: str | bytes) -> Frame | None:
        """Turn a message of Twilio's into a frame, or into None where there is nothing to pass on."""
        try:
            return await self._frame(media_stream.parse(data))
        except media_stream.BadMessage as bad:
            self.bad_messages += 1
            if self.bad_messages == 1:
                logger.warning("Skipped a message of the stream: {}; more of the kind are only counted", bad)
            return None

    async def _frame(self, event: media_stream.Event) -> Frame | None:
        match event:
            case media_stream.Media():
                return self._heard(event)
            case media_stream.Mark():
                return MarkInputFrame(event.name)
            case media_stream.Dtmf():
                return InputDTMFFrame(_key(event.digit))
            case media_stream.Stop():
                await self._call_event_handler(STOPPED)
            case media_stream.Start():
                await self._call_event_handler(VIOLATED, "expected one start, got a second")
            case media_stream.Connected():
                pass
        return None

    def _heard(self, media: media_stream.Media) -> Frame | None:
        if not media.is_from_caller(self._stream_sid):
            self.foreign_media += 1
            if self.foreign_media == 1:
                logger.warning(
                    "Skipped media that is not the caller's ({}); more of the kind are only counted",
                    "another stream" if media.track in (None, media_stream.INBOUND) else "another track",
                )
            return None
        self.media_s = asyncio.get_running_loop().time()
        mulaw = self.packets.push(media.mulaw, media.timestamp_ms)
        return MulawInputFrame(mulaw) if mulaw else None


class TwilioInput(FrameProcessor):
    """Reads the call's socket: each message becomes a frame and goes down the pipeline at once.

    Args:
        transport: is told when the other side has closed the socket.
        websocket: accepted, its ``start`` message read.
        serializer: of the same stream.
    """

    def __init__(
        self, transport: TwilioTransport, websocket: WebSocket, serializer: TwilioSerializer
    ) -> None:
        super().__init__(enable_direct_mode=True)
        self._transport = transport
        self._websocket = websocket
        self._serializer = serializer
        self._reader: asyncio.Task[None] | None = None

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Read from the pipeline's start to its end; pass everything on."""
        await super().process_frame(frame, direction)
        if isinstance(frame, (EndFrame, CancelFrame)):
            await self._stop_reading()
        await self.push_frame(frame, direction)
        if isinstance(frame, StartFrame):
            # Only now: every stage has seen the start before the first packet comes.
            self._reader = self.create_task(self._read())

    async def cleanup(self) -> None:
        """Stop reading, however the pipeline ended."""
        await super().cleanup()  # type: ignore[no-untyped-call]
        await self._stop_reading()

    async def _read(self) -> None:
        while (message := await self._websocket.receive())["type"] != "websocket.disconnect":
            text: str | None = message.get("text")
            # What is binary goes on as it is: the parser counts it among what cannot be understood.
            data = text if text is not None else bytes(message.get("bytes") or b"")
            if frame := await self._serializer.deserialize(data):
                await self.push_frame(frame)
        await self._transport.disconnected()

    async def _stop_reading(self) -> None:
        if self._reader is not None:
            # Swapped before the await: the pipeline's end and cleanup() may both come by here.
            reader, self._reader = self._reader, None
            await self.cancel_task(reader)


class TwilioOutput(FrameProcessor):
    """Sends what the serializer has words for, the moment it comes: no chunks, no pacing sleeps.

    A pipeline never waits for the socket. While the other side takes nothing, the newest messages wait,
    and the oldest are dropped: audio that comes late is worth nothing.

    Args:
        websocket: accepted.
        serializer: of the same stream.

    Attributes:
        dropped_messages: how many were never sent.
    """

    def __init__(self, websocket: WebSocket, serializer: TwilioSerializer) -> None:
        super().__init__(enable_direct_mode=True)
        self.dropped_messages = 0
        self._websocket = websocket
        self._serializer = serializer
        self._unsent: deque[str | bytes] = deque()
        self._news = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Send what the phone network takes; pass the rest on, but for measurements: all have seen them."""
        await super().process_frame(frame, direction)
        if isinstance(frame, StartFrame):
            self._writer = self.create_task(self._write())
        elif isinstance(frame, (EndFrame, CancelFrame)):
            await self._stop_writing()
        elif direction is FrameDirection.DOWNSTREAM and (message := await self._serializer.serialize(frame)):
            self._send(message)
        # What was sent ends here; behind this stage nobody knows those frames.
        if not isinstance(frame, (MulawOutputFrame, MarkOutputFrame, MeasurementFrame)):
            await self.push_frame(frame, direction)

    async def cleanup(self) -> None:
        """Stop writing, however the pipeline ended."""
        await super().cleanup()  # type: ignore[no-untyped-call]
        await self._stop_writing()

    def _send(self, message: str | bytes) -> None:
        if len(self._unsent) == UNSENT_MESSAGES:  # not the deque's own maxlen, which drops without a word
            self._unsent.popleft()
            self.dropped_messages += 1
            if self.dropped_messages == 1:
                logger.warning("The other side takes no audio; the oldest is dropped, and only counted")
        self._unsent.append(message)
        self._news.set()

    async def _write(self) -> None:
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                while self._unsent:
                    message = self._unsent.popleft()
                    if isinstance(message, str):
                        await self._websocket.send_text(message)
                    else:
                        await self._websocket.send_bytes(message)
        except (WebSocketDisconnect, RuntimeError) as error:
            # Starlette's RuntimeError says that our side has closed it. The reader hears of either.
            logger.debug("Nothing more is sent: {}", error)

    async def _stop_writing(self) -> None:
        if self._writer is not None:
            writer, self._writer = self._writer, None
            await self.cancel_task(writer)


class TwilioTransport(BaseTransport):
    """The call's WebSocket as the two ends of the pipeline. It never closes the socket: the call does.

    The event ``on_client_disconnected`` tells that the other side has closed it, or is gone.

    Args:
        websocket: accepted, its ``start`` message read.
        serializer: of the same stream.
    """

    def __init__(self, websocket: WebSocket, serializer: TwilioSerializer) -> None:
        super().__init__()
        self._websocket = websocket
        self._ends = TwilioInput(self, websocket, serializer), TwilioOutput(websocket, serializer)
        self._register_event_handler(DISCONNECTED)

    def input(self) -> TwilioInput:
        """Give the end that reads."""
        return self._ends[0]

    def output(self) -> TwilioOutput:
        """Give the end that writes."""
        return self._ends[1]

    async def disconnected(self) -> None:
        """Tell whom it concerns that the socket is closed."""
        await self._call_event_handler(DISCONNECTED, self._websocket)


def _key(digit: str) -> KeypadEntry:
    try:
        return KeypadEntry(digit)
    except ValueError as error:
        raise media_stream.BadMessage(f"expected a key of a phone, got {digit[:10]!r}") from error
