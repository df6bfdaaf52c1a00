"""Options for stored data of calls. The command line is generated from these fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal


@dataclass(frozen=True)
class TapOptions:
    """Each field is a command-line option; ``metadata["help"]`` is its text in ``--help``."""

    GROUP: ClassVar = "keep"

    meter: bool = field(
        default=True,
        metadata={
            "group": "advanced",
            "help": "Measure each call for /calls, /metrics and the summary in the log.",
        },
    )
    record: Path | None = field(
        default=None,
        metadata={
            "help": "Record each call into this directory as stereo WAV, the caller on the left. Both "
            "parties must have consented.",
            "metavar": "DIR",
        },
    )
    record_notice: str | None = field(
        default=None,
        metadata={
            "help": "Notice of --record and --transcripts, said to the caller before anything is "
            "recorded: by the bot if it can say given words, else by Twilio's voice.",
            "metavar": "TEXT",
        },
    )
    record_optout_key: Literal["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "*", "#"] | None = field(
        default=None,
        metadata={
            "help": "Key by which a caller refuses to be recorded: the recording and the transcript of the "
            "call are deleted, and recording stops."
        },
    )
    review: bool = field(
        default=False,
        metadata={
            "help": "Review each recording after its call, while no other runs: write a report with a "
            "picture into a directory beside it. Requires --record."
        },
    )
    transcripts: Path | None = field(
        default=None,
        metadata={
            "help": "Write a transcript of each call into this directory, as text and as JSON lines: the "
            "bot's words and, with --listen, the caller's.",
            "metavar": "DIR",
        },
    )
    calls_db: Path | None = field(
        default=None,
        metadata={
            "help": "Keep a row of each call, including refused ones, in this SQLite database: time, "
            "numbers, length, outcome, metrics. Without it, the last 200 calls are kept in "
            "memory.",
            "metavar": "FILE",
        },
    )
    fallback_record: Path | None = field(
        default=None,
        metadata={
            "group": "calls",
            "help": "Let callers leave a message if they cannot be served: no session is free, nobody "
            "answers at --transfer-to or --fallback-to, or the line is closed (docs/calls.md). "
            "Twilio records it; it is fetched into this directory, and deleted at Twilio.",
            "metavar": "DIR",
        },
    )
    keep_days: int | None = field(
        default=None,
        metadata={
            "help": "Delete recordings, transcripts and rows of calls older than this, at the start and "
            "every hour. Default: keep them.",
            "min": 1,
        },
    )
    redact: Literal["none", "digits"] = field(
        default="none",
        metadata={
            "help": "digits: mask every digit, and numbers spoken in words (English and French), in "
            "transcripts, on the pages and in /calls, and phone numbers to their last three digits in "
            "--calls-db. Recordings are not changed."
        },
    )
