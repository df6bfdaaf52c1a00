"""Calls from pipecat's runner: Twilio streams, and the calls of pipecat's own transports."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from fastapi import WebSocket
from pipecat.runner.types import RunnerArguments, SmallWebRTCRunnerArguments, WebSocketRunnerArguments
from pipecat.runner.utils import create_transport, parse_telephony_websocket
from pipecat.transports.base_transport import BaseTransport, TransportParams

from moshi_phone.access.refusal import RefusalCause, StreamRefused
from moshi_phone.audio.formats import PHONE_RATE_HZ, SAMPLE_RATE_HZ
from moshi_phone.engines.duplex import NO_OVERRIDES, CallOverrides
from moshi_phone.engines.personas import Personas
from moshi_phone.runtime.errors import UserError
from moshi_phone.server.net.socket_closing import close_socket
from moshi_phone.telephony.media_stream import BadMessage, Dtmf, Mark, Media, Stop, parse

TWILIO, UNKNOWN = "twilio", "unknown"
PLAIN_SOCKET = "websocket"  # pipecat's name for a WebSocket of its own clients: protobuf and RTVI
EVAL = "eval"
TELEPHONY: Mapping[str, tuple[str, ...]] = {
    "telnyx": ("TELNYX_API_KEY",),
    "plivo": ("PLIVO_AUTH_ID", "PLIVO_AUTH_TOKEN"),
    "exotel": (),
}
"""The telephone providers that pipecat supports besides Twilio, and the variables with which it hangs up."""


class TransportUnavailable(UserError):
    """The runner's call cannot be answered; the text names what is missing."""


async def recognize(websocket: WebSocket, *, within_secs: float) -> tuple[str, list[str]]:
    """Identify the provider of a socket's stream from its first messages.

    Args:
        websocket: accepted, unread; ``create_transport`` gets the messages read here again.
        within_secs: time limit for the messages.

    Returns:
        ``twilio``, ``telnyx``, …, or ``unknown``; and the messages read.

    Raises:
        StreamRefused: if they do not come, or are not text.
    """
    read: list[str] = []
    iter_text = websocket.iter_text

    async def kept() -> AsyncIterator[str]:
        async for text in iter_text():
            read.append(text)
            yield text
            if _is_late(text):  # a stream never begins with this: do not wait for a second message
                return

    websocket.iter_text = kept  # type: ignore[method-assign] # pipecat returns only two of Twilio's fields
    try:
        async with asyncio.timeout(within_secs):
            kind, _ = await parse_telephony_websocket(websocket)
    except TimeoutError as error:
        raise StreamRefused(
            RefusalCause.LATE, f"expected a start within {within_secs:g} s, got none"
        ) from error
    except (KeyError, ValueError, AttributeError) as error:  # pipecat expects JSON objects, in text
        raise StreamRefused(RefusalCause.PROTOCOL, "expected a start message, got something else") from error
    finally:
        del websocket.__dict__["iter_text"]  # the transport reads the call with it
    return kind, read


def _is_late(text: str) -> bool:
    try:
        return isinstance(parse(text), Media | Mark | Dtmf | Stop)
    except BadMessage:
        return False


def rate_hz_of(kind: str | None) -> int:
    """Return the sample rate of the audio at both ends of the pipeline, in Hz.

    A telephone provider's rate is unchanged: the stages resample it themselves, with 1.5 ms of delay each
    way.
    """
    return PHONE_RATE_HZ if kind in TELEPHONY else SAMPLE_RATE_HZ


def overrides_of(body: object, personas: Personas) -> CallOverrides:
    """Return a call's engine settings: ``persona``, ``voice``, ``greeting``, ``temperature`` of the body.

    Args:
        body: the runner's, or the parameters of a Twilio stream; other keys are ignored.
        personas: resolves the persona's name.

    Raises:
        StreamRefused: if a value has another type.
    """
    if not isinstance(body, Mapping):
        return NO_OVERRIDES
    texts = {name: body.get(name) for name in ("persona", "voice", "greeting")}
    if wrong := [name for name, value in texts.items() if not isinstance(value, str | None)]:
        raise StreamRefused(RefusalCause.REQUEST, f"expected a text for {wrong[0]} in the body")
    temperature = body.get("temperature")  # bool is an int to Python
    if isinstance(temperature, bool) or not isinstance(temperature, int | float | None):
        raise StreamRefused(RefusalCause.REQUEST, "expected a number for temperature in the body")
    request = CallOverrides(voice=texts["voice"], greeting=texts["greeting"], temperature=temperature)
    return request.or_else(personas.select(texts["persona"])) if texts["persona"] else request


async def make_transport(args: RunnerArguments, kind: str | None) -> BaseTransport:
    """Create pipecat's own transport for a call of its runner.

    Args:
        args: the runner's.
        kind: result of ``recognize`` for a telephone stream; otherwise None.

    Raises:
        TransportUnavailable: if there is no such transport, or it lacks a package or a variable.
    """
    # checked here: pipecat would fail only when it hangs up
    if missing := [name for name in TELEPHONY.get(kind or "", ()) if not os.environ.get(name)]:
        raise TransportUnavailable(
            f"A call by {kind} needs {' and '.join(missing)} in the environment: calls are hung up with it."
        )
    try:
        return await create_transport(args, _PARAMS)
    except ValueError as error:
        raise TransportUnavailable(f"This transport of the runner is not supported: {error}") from error
    except Exception as error:
        if (package := _missing_package(error)) is None:
            raise
        raise TransportUnavailable(
            f"{type(args).__name__}: its transport needs the package {package}, of an extra of pipecat-ai."
        ) from error


async def hang_up_unanswered(args: RunnerArguments, code: int, reason: str) -> None:
    """Close the connection of an unanswered call, if the runner has opened one.

    Args:
        args: the runner's.
        code: close code of a WebSocket (RFC 6455, section 7.4).
        reason: one sentence.
    """
    if isinstance(args, WebSocketRunnerArguments):
        await close_socket(args.websocket, code, reason)
    elif isinstance(args, SmallWebRTCRunnerArguments):
        await args.webrtc_connection.disconnect()


def _missing_package(error: BaseException | None) -> str | None:
    """Return the name of the package that could not be imported; None if that was not the cause.

    pipecat raises an ImportError without a name, or for MOQ a bare Exception, while it handles the one that
    names the package.
    """
    while error is not None:
        if isinstance(error, ImportError) and error.name:
            return error.name
        error = error.__cause__ or error.__context__
    return None


def _pcm() -> TransportParams:
    return TransportParams(audio_in_enabled=True, audio_out_enabled=True)


def _socket() -> TransportParams:
    from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams  # noqa: PLC0415 - as all of these

    return FastAPIWebsocketParams(audio_in_enabled=True, audio_out_enabled=True)


def _plain_socket() -> TransportParams:
    from pipecat.serializers.protobuf import ProtobufFrameSerializer  # noqa: PLC0415
    from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams  # noqa: PLC0415

    return FastAPIWebsocketParams(
        audio_in_enabled=True, audio_out_enabled=True, serializer=ProtobufFrameSerializer()
    )


def _eval() -> TransportParams:
    from pipecat.evals.transport import EvalTransportParams  # noqa: PLC0415

    return EvalTransportParams(audio_in_enabled=True, audio_out_enabled=True)


def _daily() -> TransportParams:
    from pipecat.transports.daily.transport import DailyParams  # noqa: PLC0415

    return DailyParams(audio_in_enabled=True, audio_out_enabled=True)


def _livekit() -> TransportParams:
    from pipecat.transports.livekit.transport import LiveKitParams  # noqa: PLC0415

    return LiveKitParams(audio_in_enabled=True, audio_out_enabled=True)


def _moq() -> TransportParams:
    from pipecat.transports.moq.transport import MOQParams  # noqa: PLC0415

    return MOQParams(  # its own default would be 16 kHz in; pipecat cannot convert TransportParams to it
        audio_in_enabled=True,
        audio_out_enabled=True,
        audio_in_sample_rate=SAMPLE_RATE_HZ,
        audio_out_sample_rate=SAMPLE_RATE_HZ,
    )


# Each is imported when a call needs it: the base packages contain none of them.
_PARAMS: dict[str, Callable[[], Any]] = {
    "webrtc": _pcm,
    "daily": _daily,
    "livekit": _livekit,
    "moq": _moq,
    PLAIN_SOCKET: _plain_socket,
    EVAL: _eval,
    **dict.fromkeys(TELEPHONY, _socket),
}
