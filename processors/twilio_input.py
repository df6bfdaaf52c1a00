"""The pipeline's input: reads the call's socket, and feeds silence while the stream has none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from fastapi import WebSocket
from pipecat.frames.frames import (
    CancelFrame,
    ClientConnectedFrame,
    EndFrame,
    Frame,
    InputAudioRawFrame,
    StartFrame,
    UserImageRequestFrame,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_transport import TransportParams

from moshi_phone.audio import g711
from moshi_phone.audio.formats import PHONE_FRAME_SAMPLES, PHONE_RATE_HZ
from moshi_phone.runtime.direct_messages import TAKEN
from moshi_phone.runtime.errors import describe_error
from processors.frames import (
    MeasurementFrame,
    MulawInputFrame,
    StreamLostFrame,
    StreamResumedFrame,
)
from processors.stage import Stage
from processors.stream_socket import StreamSocket
from processors.twilio_serializer import TwilioSerializer

FRAME_S = PHONE_FRAME_SAMPLES / PHONE_RATE_HZ
CATCH_UP_S = 0.4  # of silence at once, for the time before a loss was detected; more would be dropped anyway
NORMAL_CLOSURE = 1000
NO_CODE = 1006  # connection lost without a close frame: RFC 6455, section 7.4.1
CONNECTED = "on_client_connected"
DISCONNECTED = "on_client_disconnected"


class StreamOwner(Protocol):
    """The transport of an input.

    Attributes:
        wait_secs: returns how long to wait for another stream after a close code.
    """

    wait_secs: Callable[[int], float]

    async def notify(self, event: str) -> None:
        """Report that reading has begun (``CONNECTED``), or that the last socket is closed."""

    def lose(self) -> None:
        """Continue without a socket."""


class TwilioInput(BaseInputTransport, Stage):
    """Reads the call's socket: each message becomes a frame and is pushed at once.

    While it waits for another stream after a loss, it pushes silence in real time: the caller's audio is the
    clock of all stages.

    Args:
        transport: decides whether to wait for another stream; notified when the last one has ended.
        stream: holds the socket.
        serializer: of the same stream.
        params: as for ``TwilioTransport``.
    """

    reads = (MeasurementFrame,)

    def __init__(
        self,
        transport: StreamOwner,
        stream: StreamSocket,
        serializer: TwilioSerializer,
        params: TransportParams,
    ) -> None:
        super().__init__(params)
        self._transport = transport
        self._stream = stream
        self._serializer = serializer
        # Reads the socket: messages are parsed as they arrive, without a queue.
        self._reader: asyncio.Task[None] | None = None
        self._is_ended = False  # whether the EndFrame has passed

    async def start(self, frame: StartFrame) -> None:
        """Start reading: all stages have seen the start before the first packet."""
        await super().start(frame)
        await self._transport.notify(CONNECTED)
        await self.push_frame(ClientConnectedFrame())
        self._reader = self.create_task(self._read())

    async def stop(self, frame: EndFrame) -> None:
        """Push no more audio, but read on: a hang-up may come before the last clip has been played."""
        await super().stop(frame)
        self._is_ended = True

    async def cancel(self, frame: CancelFrame) -> None:
        """Stop reading."""
        await super().cancel(frame)
        await self._stop_reading()

    async def cleanup(self) -> None:
        """Stop reading, however the pipeline ended."""
        await super().cleanup()  # type: ignore[no-untyped-call]
        await self._stop_reading()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Process frames like pipecat's own input; measurements end here."""
        if isinstance(frame, MeasurementFrame):
            return
        await super().process_frame(frame, direction)
        if isinstance(frame, UserImageRequestFrame):  # the function call that made it waits for an answer
            await self._answer_image_requests([frame], "A phone call has no camera.")

    async def push_audio_frame(self, frame: InputAudioRawFrame) -> None:
        """Push audio of another source (RTVI), without a queue."""
        if self._params.audio_in_filter:
            frame.audio = await self._params.audio_in_filter.filter(frame.audio)
        if frame.audio:
            await self.push_frame(frame)

    async def _read(self) -> None:
        if type(self._serializer).deserialize is TwilioSerializer.deserialize:  # not replaced by a subclass
            self._stream.take_with(self._serializer.take, self._serializer.awaited_bytes)
        try:
            await self._read_streams()
        except Exception as error:  # of a user's own serializer: nothing reads the call any longer
            message = f"The call cannot be read: {describe_error(error)}"
            await self.push_error(message, exception=error, force_treat_as_permanent=True)
        self._stream.is_over = True  # before the notification: no replacement is possible now
        await self._transport.notify(DISCONNECTED)

    async def _read_streams(self) -> None:
        while (websocket := self._stream.websocket) is not None:
            code = await self._read_messages(websocket)
            if self._stream.websocket is not websocket:  # replaced before the loss of the old one was noticed
                await self.push_frame(StreamResumedFrame(0.0))
            elif not await self._wait_for_another(code):
                break

    async def _read_messages(self, websocket: WebSocket) -> int:
        """Read until the socket is closed; return its close code (RFC 6455, section 7.4)."""
        while (message := await websocket.receive())["type"] != "websocket.disconnect":
            taken = message.get(TAKEN)
            if self._stream.websocket is not websocket and not isinstance(taken, MulawInputFrame):
                continue  # left in the old socket after a replacement
            if taken is not None:
                frame = await self._serializer.frame_of(taken)
            else:
                text: str | None = message.get("text")
                # Binary messages are passed on: the parser counts them as invalid.
                frame = await self._serializer.deserialize(
                    text if text is not None else bytes(message.get("bytes") or b"")
                )
            if frame is None:
                continue
            if isinstance(frame, MulawInputFrame):
                await self._push_heard(frame)
            else:
                await self.push_frame(frame)
        return message.get("code") or NO_CODE

    async def _wait_for_another(self, code: int) -> bool:
        """Push silence until the stream has another socket; return False if none is awaited, or none came."""
        wait_secs = self._transport.wait_secs(NORMAL_CLOSURE if self._serializer.is_stopped else code)
        if wait_secs <= 0:
            return False
        now_s = asyncio.get_running_loop().time
        media_s = self._serializer.media_s
        until_s, due_s = now_s() + wait_secs, max(media_s, now_s() - CATCH_UP_S)
        self._transport.lose()
        await self.push_frame(StreamLostFrame())
        while (now := now_s()) < until_s:
            due_s += FRAME_S  # by deadlines, so that late wake-ups do not add up
            if await self._stream.replaced_within(min(due_s, until_s) - now):
                await self.push_frame(StreamResumedFrame((now_s() - media_s) * 1000))
                return True
            await self._push_heard(self._serializer.silence())
        return False

    async def _push_heard(self, frame: MulawInputFrame) -> None:
        if self._is_ended:
            return
        if self._params.audio_in_filter:
            frame.mulaw = g711.encode(await self._params.audio_in_filter.filter(g711.decode(frame.mulaw)))
            if not frame.mulaw:
                return  # a filter may buffer audio before its first output
        await self.push_frame(frame)

    async def _stop_reading(self) -> None:
        if self._reader is not None:
            # Swapped before the await: the pipeline's end and cleanup() both stop it.
            reader, self._reader = self._reader, None
            self._stream.take_with(None)
            await self.cancel_task(reader)
