"""What we tell Twilio to do with a call, in its markup language. Made with Twilio's own classes."""

from __future__ import annotations

from typing import Literal

from twilio.twiml.voice_response import Connect, Reject, Stream, VoiceResponse

from access.tokens import PARAMETER


def connect_stream(stream_url: str, token: str, status_url: str | None = None) -> str:
    """Connect the call to our stream, both ways, until one side ends it.

    There is no ``<Say>``: the only voice that a caller hears is the engine's.

    Args:
        stream_url: ``wss://…``, without a query (Twilio strips it).
        token: what the stream will show us when it comes.
        status_url: where Twilio reports that the stream started, stopped or failed.

    Returns:
        The document; far shorter than the 4,000 characters that a call may be placed with.
    """
    stream = Stream(url=stream_url, status_callback=status_url)
    stream.parameter(name=PARAMETER, value=token)
    connect = Connect()
    connect.append(stream)
    response = VoiceResponse()
    response.append(connect)
    return str(response)


def reject(reason: Literal["busy", "rejected"]) -> str:
    """Let the caller hear the busy tone, or that the number is not in service. It is never answered.

    Args:
        reason: Twilio's word for either.
    """
    response = VoiceResponse()
    response.append(Reject(reason=reason))
    return str(response)
