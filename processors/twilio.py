"""Twilio's side of the call as pipecat parts: the serializer, and the WebSocket as a pipeline's two ends."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field

from fastapi import WebSocket, WebSocketDisconnect
from loguru import logger
from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.frames.frames import Frame, InputDTMFFrame
from pipecat.processors.frame_processor import FrameDirection
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.transports.websocket.fastapi import (
    FastAPIWebsocketOutputTransport,
    FastAPIWebsocketParams,
    FastAPIWebsocketTransport,
)

from processors import media_stream
from processors.frames import MarkInputFrame, MarkOutputFrame, MulawInputFrame, MulawOutputFrame
from processors.inbound import Inbound

STOPPED = "on_stopped"
VIOLATED = "on_violated"


@dataclass(frozen=True)
class TwilioCredentials:
    """What hanging up by REST takes.

    Attributes:
        account_sid: of the account that the call belongs to.
        auth_token: of the same account.
        base_url: of the REST API, where it is not Twilio's own.
    """

    account_sid: str
    auth_token: str = field(repr=False)
    base_url: str | None = None


class TwilioSerializer(TwilioFrameSerializer):
    """Twilio's JSON to µ-law frames and back; never raises, whatever comes.

    What cannot be understood is counted, logged once a call, and skipped. Two events tell of the rest:
    ``on_stopped`` when Twilio says that the stream is over, ``on_violated`` (with a sentence) when what
    comes makes no sense in a running stream.

    Args:
        stream_sid: from Twilio's ``start`` message.
        call_sid: likewise; hanging up by REST needs it.
        credentials: where they are given, the call is hung up by REST when the pipeline ends.
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
        self.inbound = Inbound()
        self.bad_messages = 0
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

    async def _frame(self, event: media_stream.Event) -> Frame | None:
        match event:
            case media_stream.Media():
                mulaw = self.inbound.push(event.mulaw, event.timestamp_ms)
                return MulawInputFrame(mulaw) if mulaw else None
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
