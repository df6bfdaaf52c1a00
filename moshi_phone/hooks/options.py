"""Who is asked when a call comes in, and who is told when it is over. The command line is made from these."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal


@dataclass(frozen=True)
class HookOptions:
    """Every field is an option of the command line: ``metadata["help"]`` is what ``--help`` says of it."""

    GROUP: ClassVar = "calls"

    on_call: str | None = field(
        default=None,
        metadata={
            "help": "A URL of yours that is asked, with JSON, when a call comes in; it may refuse the call, "
            "or give it a persona, a voice, a greeting or a number to transfer to (docs/hooks.md).",
            "metavar": "URL",
        },
    )
    on_call_failure: Literal["accept", "reject"] = field(
        default="accept",
        metadata={"help": "What becomes of a call when --on-call does not answer in 2 s, or not rightly."},
    )
    on_end: str | None = field(
        default=None,
        metadata={
            "help": "A URL of yours that is told, with JSON, of each call that is over: reason, duration, "
            "both sides' words, metrics, files. It is told again until it answers 2xx.",
            "metavar": "URL",
        },
    )
    on_end_folder: Path = field(
        default=Path("outbox"),
        metadata={
            "help": "Where that waits until it was taken, so that a restart loses none.",
            "metavar": "DIR",
        },
    )
    hook_secret: str | None = field(
        default=None,
        repr=False,
        metadata={
            "help": "Signs what the hooks are sent (HMAC-SHA256). Better in the environment or in .env.",
        },
    )
    allow: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "Take calls from this number only, or from all that begin so (+1555*); may be given "
            "several times.",
            "metavar": "NUMBER",
        },
    )
    deny: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "Take no call from this number, or from those that begin so (+1555*); may be given "
            "several times, and wins over --allow.",
            "metavar": "NUMBER",
        },
    )
    calls_per_caller_per_hour: int = field(
        default=0,
        metadata={"help": "How often one number may call within an hour; 0 for no limit.", "min": 0},
    )
