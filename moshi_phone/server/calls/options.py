"""Options of calls, and what callers get who cannot be served."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from moshi_phone.telephony import twiml

Key = Literal["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "*", "#"]


@dataclass(frozen=True)
class CallOptions:
    """Every field is an option of the command line: ``metadata["help"]`` is what ``--help`` says of it."""

    GROUP: ClassVar = "calls"

    transfer_to: str | None = field(
        default=None,
        metadata={
            "help": "A number that calls are put through to, where the caller asks for a person: by "
            "--transfer-key or --transfer-phrase.",
            "metavar": "NUMBER",
        },
    )
    transfer_key: Key | None = field(
        default=None, metadata={"help": "The key of the phone that asks for it, such as 0."}
    )
    transfer_phrase: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "What a caller says who wants it; may be given several times. Needs --listen.",
            "metavar": "TEXT",
        },
    )
    transfer_notice: str | None = field(
        default=None,
        metadata={"help": "What the bot says before it puts a caller through.", "metavar": "TEXT"},
    )
    ring_secs: int = field(
        default=30,
        metadata={
            "help": "How long the other phone may ring; then the caller is back with the bot.",
            "min": 5,
            "max": 600,
        },
    )
    hangup_phrase: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "What ends the call when both have said it, such as goodbye; may be given several times. "
            "Needs --listen.",
            "metavar": "TEXT",
        },
    )
    call_limit_secs: float | None = field(
        default=None,
        metadata={
            "help": "How long a call may last; half a minute before, the caller is told, by words or by a "
            "tone. Twilio's own limit is four hours.",
            "min": 1.0,
        },
    )
    fallback_to: str | None = field(
        default=None,
        metadata={
            "help": "A number that takes calls when no session is free, or the engine fails in mid-call.",
            "metavar": "NUMBER",
        },
    )
    fallback_say: str | None = field(
        default=None,
        metadata={
            "help": "What Twilio's voice says then, where there is no --fallback-to.",
            "metavar": "TEXT",
        },
    )


def fallback(options: CallOptions) -> str | None:
    """Give the TwiML of ``--fallback-to`` or ``--fallback-say``; None where neither is set."""
    if options.fallback_to:
        return twiml.dial(options.fallback_to, options.ring_secs)
    if options.fallback_say:
        return twiml.say(options.fallback_say)
    return None
