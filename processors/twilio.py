"""Twilio's stream as pipecat's transport: the WebSocket as the two ends of a pipeline."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import WebSocket
from pipecat.transports.base_transport import BaseTransport, TransportParams

from processors.line_params import line_params
from processors.stream_socket import StreamSocket
from processors.twilio_input import CONNECTED, DISCONNECTED, TwilioInput
from processors.twilio_output import TwilioOutput
from processors.twilio_serializer import TwilioSerializer

# The serializer and the events are imported with the transport.
__all__ = ["CONNECTED", "DISCONNECTED", "TwilioSerializer", "TwilioTransport"]


class TwilioTransport(BaseTransport):
    """The call's WebSocket as the two ends of the pipeline. The call closes the socket, not the transport.

    The event ``on_client_connected`` reports that the pipeline has begun to read, ``on_client_disconnected``
    that the peer has closed the socket or is gone; each with the socket. In between, a broken stream can be
    replaced by another one of the same phone call (``wait_secs``, ``replace``).

    Args:
        websocket: accepted, its ``start`` message read.
        serializer: of the same stream.
        params: pipecat's, for its audio filters, mixer, volume and chunks. The log names those without
            effect.

    Raises:
        TypeError: if the serializer is another one, such as pipecat's own for Twilio.

    Attributes:
        wait_secs: returns how long to wait for another stream after this close code (RFC 6455, section 7.4);
            1000 if Twilio has ended the stream. By default 0, which ends the call.
    """

    def __init__(
        self, websocket: WebSocket, serializer: TwilioSerializer, params: TransportParams | None = None
    ) -> None:
        if not isinstance(serializer, TwilioSerializer):
            raise TypeError(
                f"expected a TwilioSerializer (processors/twilio.py), got {type(serializer).__name__}: "
                "pipecat's serializers belong into its FastAPIWebsocketTransport"
            )
        super().__init__()
        self.wait_secs: Callable[[int], float] = lambda _: 0.0
        self._websocket = websocket
        self._serializer = serializer
        self._stream = StreamSocket(websocket)
        self._is_used = False  # whether a pipeline has one of the ends
        self._input, self._output = self._make_ends(params or TransportParams())
        self._register_event_handler(CONNECTED)
        self._register_event_handler(DISCONNECTED)

    def configure(self, params: TransportParams) -> None:
        """Use these parameters, in a pipeline function that is given the transport.

        Args:
            params: as for the constructor.

        Raises:
            RuntimeError: if ``input()`` or ``output()`` was called before.
        """
        if self._is_used:
            raise RuntimeError("expected configure() before input() and output(), got it after one of them")
        self._input, self._output = self._make_ends(params)

    def input(self) -> TwilioInput:
        """Return the end that reads."""
        self._is_used = True
        return self._input

    def output(self) -> TwilioOutput:
        """Return the end that writes."""
        self._is_used = True
        return self._output

    @property
    def is_lost(self) -> bool:
        """Whether the stream broke off and has no replacement yet."""
        return self._stream.websocket is None

    @property
    def is_over(self) -> bool:
        """Whether the stream has ended, and no replacement is awaited."""
        return self._stream.is_over

    @property
    def clip_until_s(self) -> float:
        """Time of the event loop at which the clips sent so far have been played; 0 without any."""
        return self._output.clip_until_s

    def lose(self) -> None:
        """Continue without a socket: nothing is sent until there is another one."""
        self._stream.lose()
        self._output.forget_unsent()

    def replace(self, websocket: WebSocket, stream_sid: str) -> WebSocket | None:
        """Continue with another stream of the phone call.

        Args:
            websocket: accepted, its ``start`` message read.
            stream_sid: from that message.

        Returns:
            The previous socket, unless it was lost; its opener closes it.

        Raises:
            RuntimeError: if the stream has ended and no replacement is awaited.
        """
        if self._stream.is_over:
            raise RuntimeError("expected a stream that is waited for, got one that is over")
        self._output.forget_unsent()  # audio for the old stream
        self._serializer.restart(stream_sid)
        self._websocket = websocket
        return self._stream.replace(websocket)

    def _make_ends(self, params: TransportParams) -> tuple[TwilioInput, TwilioOutput]:
        params = line_params(params)
        return (
            TwilioInput(self, self._stream, self._serializer, params),
            TwilioOutput(self._stream, self._serializer, params),
        )

    async def notify(self, event: str) -> None:
        """Notify handlers: the pipeline has begun to read (``CONNECTED``), or the socket is closed."""
        await self._call_event_handler(event, self._websocket)
