"""TwiML documents: our answers to Twilio's webhooks. Built with Twilio's own classes."""

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
"""Connection overrides: five retries after any failure. Twilio does not send us the fragment."""

_QUESTION_BYTES = 4  # 32 bits: enough for the requests of one call


def connect_stream(
    stream_url: str,
    token: str,
    status_url: str | None = None,
    parameters: Mapping[str, str] = MappingProxyType({}),
    *,
    next_url: str | None = None,
    notice: str | None = None,
) -> str:
    """Connect the call to our stream, in both directions, until one side ends it.

    Without a notice there is no ``<Say>``: the caller hears only the engine's voice.

    Args:
        stream_url: ``wss://…``, without a query (Twilio strips it).
        token: shown by the stream in its ``start`` message.
        status_url: where Twilio reports that the stream started, stopped or failed.
        next_url: requested when our side closes the stream, or it is lost; None ends the call.
        notice: said first, by Twilio's voice.
        parameters: further parameters of the stream; names and values of less than 500 characters.

    Returns:
        The document, far shorter than the 4,000 characters allowed when a call is placed.
    """
    stream = Stream(url=stream_url, status_callback=status_url)
    # As a parameter: Twilio strips the query of the URL.
    stream.parameter(name=PARAMETER, value=token)
    for name, value in parameters.items():
        stream.parameter(name=name, value=value)
    # <Connect> streams are bidirectional; <Start> streams only listen.
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
    """Return a random ID that makes a request unique. Not a secret."""
    return secrets.token_hex(_QUESTION_BYTES)


def next_path(resumes: int, held_secs: int = 0, question: str = "") -> str:
    """Return the path and query at which Twilio asks for the next step.

    Args:
        resumes: number of broken streams of the call; a restarted server learns it from here.
        held_secs: how long the call has been on hold.
        question: makes the URL, and thus Twilio's signature, unique among the call's requests.
    """
    prefix = f"q={question}&" if question else ""
    return f"{NEXT_PATH}?{prefix}resumes={resumes}" + (f"&held={held_secs}" if held_secs else "")


def hold(text: str | None, secs: int, next_url: str) -> str:
    """Put the caller on hold, then ask again.

    Args:
        text: said first, by Twilio's voice.
        secs: length of the silence that follows.
        next_url: requested after it.
    """
    response = VoiceResponse()
    if text:
        response.say(text)
    response.pause(length=secs)  # Twilio plays silence
    response.redirect(next_url + _AGAIN, method="POST")
    return str(response)


def ask(next_url: str) -> str:
    """Ask for the next step at once.

    Args:
        next_url: where Twilio asks.
    """
    response = VoiceResponse()
    response.redirect(next_url + _AGAIN, method="POST")
    return str(response)


def reject(reason: Literal["busy", "rejected"]) -> str:
    """Reject the call unanswered: with the busy tone, or the message that the number is not in service.

    Args:
        reason: Twilio's name for the one or the other.
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
    """Connect the caller to another phone.

    Args:
        number: with its country code, in any notation.
        ring_secs: how long it may ring.
        action_url: requested afterwards for the next step, answered or not; None ends the call.
        caller_id: shown on the other phone, E.164; None for the caller's own number.
        whisper_url: TwiML for the answering person, before the connection; None for nothing.

    Raises:
        BadNumber: if it cannot be dialled.
    """
    # Without an action, Twilio runs the next verb; there is none, so the call ends.
    verb = Dial(timeout=ring_secs, action=action_url, caller_id=caller_id)
    verb.number(parse_number(number), url=whisper_url)
    response = VoiceResponse()
    response.append(verb)
    return str(response)


def say(text: str) -> str:
    """Speak a text with Twilio's voice, and end the call."""
    response = VoiceResponse()
    response.say(text)
    return str(response)


def record(text: str, most_secs: int, recorded_url: str) -> str:
    """Speak a text with Twilio's voice, and record a message after a tone.

    Args:
        text: said first.
        most_secs: maximum length of the message.
        recorded_url: requested once the message was left, even after a hang-up; its parameters name the
            recording.
    """
    response = VoiceResponse()
    response.say(text)
    response.record(
        action=recorded_url, method="POST", max_length=most_secs, finish_on_key="#", trim="trim-silence"
    )
    response.hangup()  # without a message, <Record> falls through to here
    return str(response)


def nothing() -> str:
    """Do nothing: the call has ended already."""
    return str(VoiceResponse())


def hang_up() -> str:
    """End the call."""
    response = VoiceResponse()
    response.hangup()
    return str(response)
