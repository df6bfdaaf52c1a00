"""What is kept of the calls. The command line is made from these fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal


@dataclass(frozen=True)
class TapOptions:
    """Every field is an option of the command line: ``metadata["help"]`` is what ``--help`` says of it."""

    GROUP: ClassVar = "keep"

    meter: bool = field(
        default=True,
        metadata={
            "group": "tuning",
            "help": "Measure each call: the metrics of /calls, /metrics and the log's line at its end.",
        },
    )
    record: Path | None = field(
        default=None,
        metadata={
            "help": "Record each call into this directory (stereo WAV, the caller left). "
            "Both parties must have agreed to it.",
            "metavar": "DIR",
        },
    )
    transcripts: Path | None = field(
        default=None,
        metadata={
            "help": "Write what is said in each call into this directory, with times, as text and as JSON "
            "lines: the bot's words, and with --listen the caller's.",
            "metavar": "DIR",
        },
    )
    keep_days: int | None = field(
        default=None,
        metadata={
            "help": "Delete recordings and transcripts of calls older than so many days, at the start and "
            "every hour; without it they stay.",
            "min": 1,
        },
    )
    redact: Literal["none", "digits"] = field(
        default="none",
        metadata={
            "help": "Keep numbers out of transcripts, the page and /calls: digits masks every digit, and "
            "numbers that are read out in words (English and French). Recordings are not changed."
        },
    )
