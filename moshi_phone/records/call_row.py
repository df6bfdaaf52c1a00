"""The row of a call, in memory and in ``--calls-db``. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

RUN_ID_CHARS = 8


class Kind(StrEnum):
    """The kind of a row."""

    CALL = "call"
    MESSAGE = "message"
    """A message left by a caller."""


class Outcome(StrEnum):
    """The outcome of a call. The first two are those of open calls."""

    CONNECTING = "connecting"
    """Connected; its stream has not arrived yet."""
    RUNNING = "running"

    ANSWERED = "answered"
    """It had a conversation, and has ended."""
    TRANSFERRED = "transferred"
    """It was transferred to a person."""
    MESSAGE = "message"
    """The caller left a message."""
    FALLBACK = "fallback"
    """No session was free, or the engine failed: the fallback took the call."""
    BUSY = "busy"
    """No session was free: the caller heard the busy tone."""
    CLOSED = "closed"
    """It came outside the opening hours."""
    REFUSED = "refused"
    """The hook refused it, or its number had called too often."""
    DENIED = "denied"
    """Its number may not call."""
    NO_STREAM = "no stream"
    """Connected, but its stream never arrived."""
    FAILED = "failed"
    """The engine or the pipeline failed."""
    INTERRUPTED = "interrupted"
    """The program was killed during the call."""


OPEN = (Outcome.CONNECTING, Outcome.RUNNING)
"""Outcomes of open calls."""


def utc_text(moment: datetime) -> str:
    """Format a time for a row: UTC, ISO 8601 with milliseconds. Sorts chronologically as text."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03}Z"


def _now() -> str:
    return utc_text(datetime.now(UTC))


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRow:
    """One call, or one message. The database has a column for each field, of the same name.

    Attributes:
        id: the row's key, set by ``CallHistory.add``; with ``--calls-db``, it begins with the run ID of the
            process that entered it.
        kind: call or message.
        call_sid: Twilio's SID of the call.
        began_at: time of its webhook or its stream (``utc_text``).
        ended_at: time of its end; None while it is open.
        from_number: the caller's number, normalized (``telephony/caller_id.py``) and masked by ``--redact``.
        to_number: the called number, normalized and masked in the same way.
        direction: ``inbound``, ``outbound-api`` for a dialled call, or ``browser`` for a call from the page.
        section: its section of ``personas.toml``; None for the default.
        engine: the engine's name; empty if none answered.
        secs: duration of the conversation.
        outcome: the call's outcome.
        reason: the outcome in a sentence, without numbers or words of the caller.
        transfer_to: the transfer's number, masked.
        transfer_outcome: the transfer's result: Twilio's ``DialCallStatus``.
        transfer_secs: duration of the transferred conversation.
        consent: to a recording: ``told`` after ``--record-notice``, ``refused`` after
            ``--record-optout-key``; None if not asked.
        metrics: of the line and of the conversation, as in ``/calls``.
        files: its files, by kind: ``recording``, ``transcript``.
        text: a message's words, if known.
    """

    id: str = ""
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
        """Whether the call has not ended."""
        return self.ended_at is None

    @property
    def party(self) -> str:
        """The number of the other person, not this server's."""
        return self.to_number if self.direction.startswith("outbound") else self.from_number
