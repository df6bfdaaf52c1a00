"""All events that are sent to a user's hooks: the name, payload and option of each.

A new event is a payload here, a row in ``EVENTS`` and a section in docs/hooks.md. ``Hook.post`` sends it
once, ``Outbox.add`` until it has been accepted.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

from moshi_phone.telephony.incoming_call import IncomingCall


class SpokenLine(TypedDict):
    """A line of the transcript: seconds since the call's start, ``caller`` or ``bot``, and the words."""

    at_s: float
    speaker: str
    text: str


# The functional form: "from" is a keyword of Python.
CallEvent = TypedDict(
    "CallEvent",
    {
        "event": Literal["call"],
        "call_sid": str,
        "from": str,
        "to": str,
        "direction": str,
        "parameters": dict[str, str],
    },
)
"""A call comes in; the answer decides about it (``hooks/on_call.py``)."""

BeginEvent = TypedDict(
    "BeginEvent",
    {
        "event": Literal["begin"],
        "call_sid": str,
        "from": str | None,
        "to": str | None,
        "direction": str | None,
        "section": str | None,
        "began_at": str,
        "engine": str,
    },
)
"""A call begins: its audio is here."""


class TransferResult(TypedDict):
    """How a transfer went: to whom, Twilio's ``DialCallStatus``, and how long they talked."""

    to: str
    outcome: str | None
    secs: float | None


EndEvent = TypedDict(
    "EndEvent",
    {
        "event": Literal["end"],
        "id": NotRequired[str],  # the outbox adds it
        "kind": str,
        "call_sid": str,
        "from": str | None,
        "to": str | None,
        "direction": str | None,
        "began_at": str,
        "ended_at": str,
        "section": str | None,
        "secs": float,
        "outcome": str,
        "reason": str,
        "transfer": TransferResult | None,
        "consent": str | None,
        "engine": str,
        "words": list[SpokenLine],
        "metrics": dict[str, Any],
        "files": dict[str, str],
    },
)
"""A call has ended, was not taken, or left a message (``server/calls/summary.py`` makes it)."""

EVENTS: dict[str, tuple[str, Any]] = {
    "call": ("--on-call", CallEvent),
    "begin": ("--on-begin", BeginEvent),
    "end": ("--on-end", EndEvent),
}
"""Each event's option and payload, by its name."""


def call_event(call: IncomingCall) -> CallEvent:
    """Describe an incoming call."""
    return {
        "event": "call",
        "call_sid": call.call_sid,
        "from": call.from_,
        "to": call.to,
        "direction": call.direction,
        "parameters": dict(call.parameters),
    }
