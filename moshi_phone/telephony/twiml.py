"""What we tell Twilio to do with a call, in its markup language. Made with Twilio's own classes."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from twilio.twiml.voice_response import Connect, Dial, Reject, Stream, VoiceResponse

from moshi_phone.access.public_address import NEXT_PATH
from moshi_phone.access.tokens import PARAMETER
from moshi_phone.telephony.e164 import parse_number

_AGAIN = "#rc=5&rp=all&ct=2000&rt=5000"
"""Connection overrides: Twilio asks five times more, whatever fails. The fragment is never sent to us."""

_QUESTION_BYTES = 4


def connect_stream(
    stream_url: str,
    token: str,
    status_url: str | None = None,
    parameters: Mapping[str, str] = MappingProxyType({}),
    *,
    next_url: str | None = None,
    notice: str | None = None,
) -> str:
    """Connect the call to our stream, both ways, until one side ends it.

    Without a notice there is no ``<Say>``: the only voice that a caller hears is the engine's.

    Args:
        stream_url: ``wss://…``, without a query (Twilio strips it).
        token: what the stream will show us when it comes.
        status_url: where Twilio reports that the stream started, stopped or failed.
        next_url: is asked what to do when our side of the stream is closed, or lost; None ends the call.
        notice: what Twilio's voice says first.
        parameters: what the stream shall bring beside the token, names and values of under 500 characters.

    Returns:
        The document; far shorter than the 4,000 characters that a call may be placed with.
    """
    stream = Stream(url=stream_url, status_callback=status_url)
    # As a parameter and not in the URL: of that Twilio strips the query.
    stream.parameter(name=PARAMETER, value=token)
    for name, value in parameters.items():
        stream.parameter(name=name, value=value)
    # <Connect> and not <Start>, whose streams only listen.
    connect = Connect()
    connect.append(stream)
    response = VoiceResponse()
    if notice:
        response.say(notice)
    response.append(connect)
    if next_url:
        response.redirect(next_url + _AGAIN, method="POST")
    return str(response)


def new_question() -> str:
    """Make what tells one question from all others; no secret."""
    return secrets.token_hex(_QUESTION_BYTES)


def next_path(resumes: int, held_secs: int = 0, question: str = "") -> str:
    """Give the path, and query, at which Twilio asks what to do next.

    Args:
        resumes: how many streams of the call have broken off; a server that was restarted knows it by this.
        held_secs: for how long the call has been on hold.
        question: tells this question from all others of the call, and so makes its signature its own.
    """
    told = f"q={question}&" if question else ""
    return f"{NEXT_PATH}?{told}resumes={resumes}" + (f"&held={held_secs}" if held_secs else "")


def hold(text: str | None, secs: int, next_url: str) -> str:
    """Let the caller wait, and ask again.

    Args:
        text: what Twilio's voice says first.
        secs: how long the silence after it lasts.
        next_url: is asked then.
    """
    response = VoiceResponse()
    if text:
        response.say(text)
    response.pause(length=secs)
    response.redirect(next_url + _AGAIN, method="POST")
    return str(response)


def reject(reason: Literal["busy", "rejected"]) -> str:
    """Let the caller hear the busy tone, or that the number is not in service. It is never answered.

    Args:
        reason: Twilio's word for either.
    """
    response = VoiceResponse()
    response.append(Reject(reason=reason))
    return str(response)


def dial(
    number: str,
    ring_secs: int,
    action_url: str | None = None,
    caller_id: str | None = None,
    whisper_url: str | None = None,
) -> str:
    """Put the caller through to another phone.

    Args:
        number: with its country code, however it is written.
        ring_secs: how long it may ring.
        action_url: is asked what to do next when that is over, answered or not; None ends the call then.
        caller_id: what the other phone shows, E.164; None for the caller's own number.
        whisper_url: is asked what to tell whoever answers, before the two are connected; None for nothing.

    Raises:
        BadNumber: when it cannot be dialled.
    """
    # Without an action Twilio goes on with what follows, and nothing does: so the call ends.
    verb = Dial(timeout=ring_secs, action=action_url, caller_id=caller_id)
    verb.number(parse_number(number), url=whisper_url)
    response = VoiceResponse()
    response.append(verb)
    return str(response)


def say(text: str) -> str:
    """Let Twilio's own voice say something, and end the call."""
    response = VoiceResponse()
    response.say(text)
    return str(response)


def record(text: str, most_secs: int, recorded_url: str) -> str:
    """Let Twilio's own voice say something, and the caller leave a message after a tone.

    Args:
        text: what is said first.
        most_secs: how long the message may be.
        recorded_url: is asked what to do next, and so told of the message, when it was left: also by a
            caller who has hung up.
    """
    response = VoiceResponse()
    response.say(text)
    response.record(
        action=recorded_url, method="POST", max_length=most_secs, finish_on_key="#", trim="trim-silence"
    )
    response.hangup()  # for a caller who says nothing
    return str(response)


def nothing() -> str:
    """Do nothing: for a call that is over already."""
    return str(VoiceResponse())


def hang_up() -> str:
    """End the call."""
    response = VoiceResponse()
    response.hangup()
    return str(response)
