"""Twilio's Media Streams protocol, pure: text to events, µ-law to text.

https://www.twilio.com/docs/voice/media-streams/websocket-messages
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from moshi_phone.audio.formats import PHONE_RATE_HZ

ENCODING, CHANNELS = "audio/x-mulaw", 1
INBOUND = "inbound"
_MAX_TIMESTAMP = 12  # digits; 30 years of milliseconds
_SURROGATE = re.compile("[\ud800-\udfff]")  # lone halves of a pair, which UTF-8 cannot encode


class BadMessage(Exception):
    """An invalid message; the text states the expected and the actual form."""


@dataclass(frozen=True, slots=True)
class Connected:
    """The first message of a stream; it carries no data."""


@dataclass(frozen=True, slots=True)
class Start:
    """The stream begins.

    Attributes:
        stream_sid: ID of the stream in every message.
        call_sid: SID of the phone call.
        account_sid: SID of its account.
        media_format: encoding, sampleRate and channels, unchecked.
        custom_parameters: values of the TwiML's ``<Parameter>`` elements.
    """

    stream_sid: str
    call_sid: str
    account_sid: str
    media_format: Mapping[str, Any]
    custom_parameters: Mapping[str, str] = field(repr=False)  # they carry the call's token

    @property
    def is_phone_audio(self) -> bool:
        """Whether the audio has our format: µ-law, 8 kHz, mono."""
        asked = [self.media_format.get(key) for key in ("encoding", "sampleRate", "channels")]
        return asked == [ENCODING, PHONE_RATE_HZ, CHANNELS]


@dataclass(frozen=True, slots=True)
class Media:
    """A packet of audio.

    Attributes:
        mulaw: G.711 µ-law, 8 kHz mono.
        timestamp_ms: its start, relative to the stream's start; None if absent.
        stream_sid: its stream; None if absent.
        track: ``inbound`` for the caller, ``outbound`` for audio to the caller; None if absent.
    """

    mulaw: bytes
    timestamp_ms: int | None
    stream_sid: str | None = None
    track: str | None = None

    def is_from_caller(self, stream_sid: str) -> bool:
        """Whether this is the caller's audio in that stream. Absent fields count as matching."""
        return self.stream_sid in (None, stream_sid) and self.track in (None, INBOUND)


@dataclass(frozen=True, slots=True)
class Mark:
    """The audio before one of our marks was played or cleared."""

    name: str


@dataclass(frozen=True, slots=True)
class Dtmf:
    """The caller pressed a key."""

    digit: str


@dataclass(frozen=True, slots=True)
class Stop:
    """The stream has ended."""


Event = Connected | Start | Media | Mark | Dtmf | Stop


def parse(data: str | bytes) -> Event:
    """Parse a message from Twilio.

    Raises:
        BadMessage: if it is invalid.
    """
    # Twilio sends text only.
    if isinstance(data, bytes):
        raise BadMessage("expected text, got a binary message")
    try:
        # RecursionError: thousands of nested brackets from an attacker.
        message = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadMessage("expected JSON, got something else") from error
    if not isinstance(message, dict):
        raise BadMessage(f"expected a JSON object, got {type(message).__name__}")
    event = message.get("event")
    read = _READERS.get(event) if isinstance(event, str) else None
    if read is None:
        # Truncated and quoted: the sender controls this part of the log.
        raise BadMessage(f"unknown event {str(event)[:40]!r}")
    return read(message)


def media(stream_sid: str, mulaw: bytes) -> str:
    """Format audio for the caller."""
    payload = base64.b64encode(mulaw).decode("ascii")  # base64 contains nothing to escape in JSON
    return f'{{"event": "media", "streamSid": {json.dumps(stream_sid)}, "media": {{"payload": "{payload}"}}}}'


def mark(stream_sid: str, name: str) -> str:
    """Format a mark, which Twilio returns when the audio before it was played."""
    return json.dumps({"event": "mark", "streamSid": stream_sid, "mark": {"name": name}})


def clear(stream_sid: str) -> str:
    """Format a command that clears Twilio's buffer of unplayed audio."""
    return json.dumps({"event": "clear", "streamSid": stream_sid})


def _start(message: dict[str, Any]) -> Start:
    body = _object(message, "start")
    parameters = body.get("customParameters") or {}  # absent without <Parameter> elements
    if not isinstance(parameters, dict):
        raise BadMessage(f"expected customParameters to be an object, got {type(parameters).__name__}")
    return Start(
        _text(body, "streamSid"),
        _text(body, "callSid"),
        _text(body, "accountSid"),
        _object(body, "mediaFormat"),
        {str(name): str(value) for name, value in parameters.items()},
    )


def _media(message: dict[str, Any]) -> Media:
    body = _object(message, "media")
    try:
        mulaw = binascii.a2b_base64(_text(body, "payload"), strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise BadMessage("expected a base64 payload, got something else") from error
    return Media(
        mulaw, _milliseconds(body.get("timestamp")), _said(message.get("streamSid")), _said(body.get("track"))
    )


def _milliseconds(timestamp: object) -> int | None:
    """Parse a timestamp, an integer that Twilio sends as a string; None if it is invalid."""
    text = str(timestamp)
    if text.isascii() and text.isdigit() and len(text) <= _MAX_TIMESTAMP:
        return int(text)
    return None


def _said(value: object) -> str | None:
    return None if value is None else str(value)


def _object(body: dict[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name)
    if not isinstance(value, dict):
        raise BadMessage(f"expected {name} to be an object, got {type(value).__name__}")
    return value


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str):
        raise BadMessage(f"expected {name} to be text, got {type(value).__name__}")
    if not value.isascii() and _SURROGATE.search(value):
        # JSON can spell a lone surrogate, which cannot be encoded for a file or a socket.
        raise BadMessage(f"expected {name} to be text, got half a surrogate pair")
    return value


_READERS: dict[str, Callable[[dict[str, Any]], Event]] = {
    "connected": lambda _: Connected(),
    "start": _start,
    "media": _media,
    "mark": lambda message: Mark(_text(_object(message, "mark"), "name")),
    "dtmf": lambda message: Dtmf(_text(_object(message, "dtmf"), "digit")),
    "stop": lambda _: Stop(),
}
