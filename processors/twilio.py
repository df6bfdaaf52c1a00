"""Twilio's side of the call as pipecat parts: the serializer, and the WebSocket as a pipeline's two ends."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from fastapi import WebSocket, WebSocketDisconnect
from loguru import logger
from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.frames.frames import CancelFrame, Frame, InputDTMFFrame
from pipecat.processors.frame_processor import FrameDirection
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.transports.websocket.fastapi import (
    FastAPIWebsocketOutputTransport,
    FastAPIWebsocketParams,
    FastAPIWebsocketTransport,
)

from audio.packet_assembler import PacketAssembler
from processors.frames import MarkInputFrame, MarkOutputFrame, MulawInputFrame, MulawOutputFrame
from telephony import media_stream
from telephony.rest import TwilioCredentials

STOPPED = "on_stopped"
VIOLATED = "on_violated"
HANG_UP_SECS = 5.0


class TwilioSerializer(TwilioFrameSerializer):
    """Twilio's JSON to µ-law frames and back; never raises, whatever comes.

    What cannot be understood is counted, logged once a call, and skipped. Two events tell of the rest:
    ``on_stopped`` when Twilio says that the stream is over, ``on_violated`` (with a sentence) when what
    comes makes no sense in a running stream.

    Args:
        stream_sid: from Twilio's ``start`` message.
        call_sid: likewise; hanging up by REST needs it.
        credentials: where they are given, the call is hung up by REST when the pipeline ends.

    Attributes:
        packets: gathers the caller's packets.
        bad_messages: how many could not be understood.
        media_s: when the last media came, on the event loop's clock.
    """

    def __init__(
        self, stream_sid: str, call_sid: str | None = None, credentials: TwilioCredentials | None = None
    ) -> None:
        super().__init__(
            stream_sid,
            call_sid=call_sid,
            account_sid=credentials.account_sid if credentials else None,
            auth_token=credentials.auth_token if credentials else None,
            base_url=credentials.base_url if credentials else None,
            params=TwilioFrameSerializer.InputParams(auto_hang_up=bool(credentials and call_sid)),
        )
        self.packets = PacketAssembler()
        self.bad_messages = 0
        self.media_s = asyncio.get_running_loop().time()
        self._over = False
        self._register_event_handler(STOPPED)
        self._register_event_handler(VIOLATED)

    async def serialize(self, frame: Frame) -> str | bytes | None:
        """Turn µ-law audio and marks into Twilio's JSON, and the pipeline's end into a hang-up."""
        if isinstance(frame, MulawOutputFrame):
            return media_stream.media(self._stream_sid, frame.mulaw)
        if isinstance(frame, MarkOutputFrame):
            return media_stream.mark(self._stream_sid, frame.mark)
        return await super().serialize(frame)

    async def deserialize(self, data: str | bytes) -> Frame | None:
        """Turn a message of Twilio's into a frame, or into None where there is nothing to pass on."""
        try:
            return await self._frame(media_stream.parse(data))
        except media_stream.BadMessage as bad:
            self.bad_messages += 1
            if self.bad_messages == 1:
                logger.warning("Skipped a message of the stream: {}; more of the kind are only counted", bad)
            return None

    async def hang_up(self) -> None:
        """End the phone call by REST, where there are credentials and Twilio has not ended it already.

        Closing the socket ends the call as well, as long as nothing follows our ``<Connect>``. pipecat does
        this by itself only for a pipeline that ends before its socket does.
        """
        if self._over:
            return
        try:
            async with asyncio.timeout(HANG_UP_SECS):
                await self.serialize(CancelFrame())
        except TimeoutError:
            logger.warning("Twilio did not answer a hang-up in {:g} s", HANG_UP_SECS)

    async def _frame(self, event: media_stream.Event) -> Frame | None:
        match event:
            case media_stream.Media():
                self.media_s = asyncio.get_running_loop().time()
                mulaw = self.packets.push(event.mulaw, event.timestamp_ms)
                return MulawInputFrame(mulaw) if mulaw else None
            case media_stream.Mark():
                return MarkInputFrame(event.name)
            case media_stream.Dtmf():
                return InputDTMFFrame(_key(event.digit))
            case media_stream.Stop():
                self._over = True
                await self._call_event_handler(STOPPED)
            case media_stream.Start():
                await self._call_event_handler(VIOLATED, "expected one start, got a second")
            case media_stream.Connected():
                pass
        return None


class TwilioOutput(FastAPIWebsocketOutputTransport):
    """Sends µ-law frames and marks the moment they come: no chunks, no queue, no pacing sleeps."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Write what the phone network takes; leave the rest to pipecat."""
        if isinstance(frame, (MulawOutputFrame, MarkOutputFrame)):
            await self._write_frame(frame)
        else:
            await super().process_frame(frame, direction)


class TwilioTransport(FastAPIWebsocketTransport):
    """The call's WebSocket as the two ends of the pipeline.

    Args:
        websocket: accepted, its ``start`` message read.
        serializer: of the same stream.
    """

    def __init__(self, websocket: WebSocket, serializer: TwilioSerializer) -> None:
        # Neither audio_in nor audio_out is enabled: those are pipecat's PCM queues, and our audio is µ-law.
        params = FastAPIWebsocketParams(serializer=serializer)
        super().__init__(websocket, params)
        self._websocket = websocket
        self._output = TwilioOutput(
            self, self._client, params, name=self._output_name, enable_direct_mode=True
        )

    async def close(self, code: int, reason: str) -> None:
        """Close the socket with a reason, at once; the pipeline's own end then finds it closed.

        Args:
            code: of RFC 6455, section 7.4.
            reason: at most 123 bytes of UTF-8.
        """
        if self._client.is_connected and not self._client.is_closing:
            self._client._closing = True  # or pipecat would close it a second time, and log that error
            with suppress(WebSocketDisconnect):  # the other side may have been quicker
                await self._websocket.close(code, reason)


def _key(digit: str) -> KeypadEntry:
    try:
        return KeypadEntry(digit)
    except ValueError as error:
        raise media_stream.BadMessage(f"expected a key of a phone, got {digit[:10]!r}") from error
