"""Options of calls, and the fallback for calls that cannot be served."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from moshi_phone.telephony import twiml
from moshi_phone.telephony.e164 import parse_number
from moshi_phone.telephony.incoming_call import IncomingCall

Key = Literal["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "*", "#"]


@dataclass(frozen=True)
class CallOptions:
    """Each field is a command-line option; ``metadata["help"]`` is its text in ``--help``."""

    GROUP: ClassVar = "calls"

    transfer_to: str | None = field(
        default=None,
        metadata={
            "help": "Number that callers who ask for a person are transferred to, by --transfer-key or "
            "--transfer-phrase.",
            "metavar": "NUMBER",
        },
    )
    transfer_key: Key | None = field(
        default=None, metadata={"help": "Key that triggers a transfer, such as 0."}
    )
    transfer_phrase: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "Phrase by which a caller triggers a transfer; may be repeated. Requires --listen.",
            "texts": True,
            "metavar": "TEXT",
        },
    )
    transfer_notice: str | None = field(
        default=None,
        metadata={"help": "What the bot says before a transfer.", "metavar": "TEXT"},
    )
    transfer_whisper: str | None = field(
        default=None,
        metadata={
            "help": "What Twilio's voice says to the person who answers a transfer, before the caller is "
            "connected; the caller's last words follow if they are known (--listen).",
            "metavar": "TEXT",
        },
    )
    transfer_ring_secs: int = field(
        default=30,
        metadata={
            "help": "Seconds that the other phone rings before the caller returns to the bot.",
            "min": 5,
            "max": 600,
        },
    )
    hangup_phrase: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "Phrase that ends the call once both have said it, such as goodbye; may be repeated. "
            "Requires --listen.",
            "texts": True,
            "metavar": "TEXT",
        },
    )
    call_limit_secs: float | None = field(
        default=None,
        metadata={
            "help": "Maximum length of a call; 30 s before, the caller is warned by words or a tone. "
            "Twilio's own limit is four hours.",
            "min": 1.0,
        },
    )
    echo_cancel: Literal["auto", "on", "off"] = field(
        default="auto",
        metadata={
            "help": "Cancel the bot's echo from the caller's phone. auto: once an echo is found; on: "
            "from the start (11 ms of delay); off: never."
        },
    )
    noise_suppression: bool = field(
        default=False,
        metadata={
            "help": "Suppress steady noise in the caller's audio by about 12 dB; delays the caller by 9 ms."
        },
    )
    automatic_gain: bool = field(
        default=False,
        metadata={"help": "Amplify callers who are far too quiet, by at most 18 dB; others are not changed."},
    )
    silence_secs: float = field(
        default=120.0,
        metadata={
            "help": "Seconds without a word or a key from the caller after which a call ends; 0: never.",
            "min": 0.0,
        },
    )
    silence_notice: str = field(
        default="Are you still there?",
        metadata={
            "help": "What the bot says after two thirds of --silence-secs, if it can say given words.",
            "metavar": "TEXT",
        },
    )
    mute_secs: float = field(
        default=60.0,
        metadata={
            "help": "Seconds that a caller waits for an answer before the bot's silence is logged and "
            "counted, and the call goes to --fallback-to if that is set. 0: never.",
            "min": 0.0,
        },
    )
    fallback_to: str | None = field(
        default=None,
        metadata={
            "help": "Number that takes calls if no session is free, or if the engine fails or falls silent "
            "during a call.",
            "metavar": "NUMBER",
        },
    )
    resumes: int = field(
        default=3,
        metadata={
            "help": "Maximum number of new streams for a call whose stream breaks off, because a proxy or a "
            "process restarts; after that, the call goes to --fallback-to.",
            "min": 0,
        },
    )
    resume_secs: float = field(
        default=10.0,
        metadata={
            "help": "Seconds that a session waits for a new stream after a break, to continue the same "
            "conversation; meanwhile the model hears silence.",
            "min": 0.0,
        },
    )
    resume_notice: str | None = field(
        default=None,
        metadata={
            "help": "What the bot says first in a new conversation after a break, such as: Sorry, we were "
            "cut off.",
            "metavar": "TEXT",
        },
    )
    hold_secs: float = field(
        default=60.0,
        metadata={
            "help": "Seconds that a call may be on hold after a break until a session is free.",
            "min": 0.0,
        },
    )
    hold_say: str | None = field(
        default=None,
        metadata={"help": "What Twilio's voice says before --hold-secs.", "metavar": "TEXT"},
    )
    message_say: str = field(
        default="Nobody can take your call now. Please leave a message after the tone.",
        metadata={
            "help": "What Twilio's voice says before a caller leaves a message (--fallback-record).",
            "metavar": "TEXT",
        },
    )
    message_secs: int = field(
        default=120,
        metadata={"help": "Maximum length of a message, in seconds.", "min": 5, "max": 600},
    )
    fallback_say: str | None = field(
        default=None,
        metadata={
            "help": "Without --fallback-to: what Twilio's voice says if no session is free or the engine "
            "fails.",
            "metavar": "TEXT",
        },
    )


def fallback(
    options: CallOptions,
    incoming: IncomingCall | None = None,
    *,
    recorded_url: str | None = None,
    transferred_url: str | None = None,
) -> str | None:
    """Return the TwiML of ``--fallback-to``, ``--fallback-record`` or ``--fallback-say``; None without any.

    Args:
        options: which of them are set.
        incoming: the call; None without a webhook.
        recorded_url: where Twilio reports messages; None if callers cannot leave any.
        transferred_url: requested if nobody answers at ``--fallback-to``; None ends the call.
    """
    number, caller_id = options.fallback_to, incoming.caller_id if incoming else None
    # The line's own number would ring here again, still without a session.
    if number and not (incoming and parse_number(number) == incoming.own_number):
        action_url = transferred_url if recorded_url else None  # then the caller can leave a message
        return twiml.dial(number, options.transfer_ring_secs, action_url, caller_id=caller_id)
    if recorded_url:
        return twiml.record(options.fallback_say or options.message_say, options.message_secs, recorded_url)
    if options.fallback_say:
        return twiml.say(options.fallback_say)
    return None
