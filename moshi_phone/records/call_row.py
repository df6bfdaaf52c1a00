"""One row for each call: what is kept of it after its end, in memory and in ``--calls-db``. Pure."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What a row is of."""

    CALL = "call"
    MESSAGE = "message"
    """Words that a caller left to be heard later."""


class Outcome(StrEnum):
    """What became of a call. The first two are of calls that go on."""

    CONNECTING = "connecting"
    """It was connected; its stream has not come yet."""
    RUNNING = "running"

    ANSWERED = "answered"
    """It was talked in, and it is over."""
    TRANSFERRED = "transferred"
    """It was transferred to a person."""
    MESSAGE = "message"
    """The caller left a message."""
    FALLBACK = "fallback"
    """No session was free, or the engine failed: it got the fallback."""
    BUSY = "busy"
    """No session was free: the caller heard the busy tone."""
    CLOSED = "closed"
    """It came outside the opening hours."""
    REFUSED = "refused"
    """The hook refused it, or its number had called too often."""
    DENIED = "denied"
    """Its number may not call."""
    NO_STREAM = "no stream"
    """It was connected, and its audio never came."""
    FAILED = "failed"
    """The engine or the pipeline broke."""
    INTERRUPTED = "interrupted"
    """The program ended while it went on."""


OPEN = (Outcome.CONNECTING, Outcome.RUNNING)
"""Outcomes of calls that go on."""


def utc_text(moment: datetime) -> str:
    """Write a moment as a row has it: UTC, in ISO 8601 with milliseconds. Sorted as text, it is in order."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03}Z"


def _now() -> str:
    return utc_text(datetime.now(UTC))


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRow:
    """One call, or one message. The database has a column for each field, of the same name.

    Attributes:
        id: names the row.
        kind: of what it is.
        call_sid: names the call at Twilio.
        began_at: when its webhook came, or its stream (``utc_text``).
        ended_at: when it was over; None while it goes on.
        from_number: who called, normalized (``telephony/caller_id.py``), masked as ``--redact`` says.
        to_number: who was called, likewise.
        direction: ``inbound``, or ``outbound-api`` for one that was dialled; ``browser`` for the page's.
        section: of ``personas.toml``; None for the default.
        engine: who answered, by name; empty where nobody did.
        secs: how long it was talked in.
        outcome: what became of it.
        reason: the same in a sentence, without numbers or words of the caller's.
        transfer_to: the number of the transfer, masked likewise.
        transfer_outcome: how that went: Twilio's ``DialCallStatus``.
        transfer_secs: how long the two talked.
        consent: to a recording: ``told`` where ``--record-notice`` was said, ``refused`` where the caller
            pressed ``--record-optout-key``; None where nobody was asked.
        metrics: of the line and of the conversation, as ``/calls`` shows them.
        files: what is kept of it, by what it is: ``recording``, ``transcript``.
        text: what a message says, where that is known.
    """

    id: str = field(default_factory=lambda: secrets.token_hex(8))
    kind: Kind = Kind.CALL
    call_sid: str = ""
    began_at: str = field(default_factory=_now)
    ended_at: str | None = None
    from_number: str = field(default="", repr=False)
    to_number: str = field(default="", repr=False)
    direction: str = "inbound"
    section: str | None = None
    engine: str = ""
    secs: float = 0.0
    outcome: Outcome = Outcome.CONNECTING
    reason: str = ""
    transfer_to: str | None = field(default=None, repr=False)
    transfer_outcome: str | None = None
    transfer_secs: float | None = None
    consent: str | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    files: Mapping[str, str] = field(default_factory=dict[str, str])
    text: str | None = field(default=None, repr=False)

    @property
    def is_open(self) -> bool:
        """Whether it goes on."""
        return self.ended_at is None

    @property
    def party(self) -> str:
        """The number of the person at the other end, which is not ours."""
        return self.to_number if self.direction.startswith("outbound") else self.from_number
