"""How a call is rehearsed. The command line is made from these fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar


@dataclass(frozen=True)
class RehearseOptions:
    """Every field is an option of the command line: ``metadata["help"]`` is what ``--help`` says of it."""

    GROUP: ClassVar = "rehearsal"

    url: str | None = field(
        default=None,
        metadata={
            "help": "The stream of a server that runs already, ws://HOST:PORT/stream; without it, one is "
            "started for the rehearsal, with the engine that the other options choose.",
            "envvar": "REHEARSE_URL",
            "metavar": "URL",
        },
    )
    caller: Path | None = field(
        default=None,
        metadata={
            "help": "What the caller says: a WAV or FLAC file of speech; without it, an embedded clip.",
            "envvar": "REHEARSE_CALLER",
            "metavar": "FILE",
        },
    )
    secs: float = field(
        default=20.0,
        metadata={
            "help": "Seconds that the call lasts.",
            "envvar": "REHEARSE_SECS",
            "min": 6.0,
            "max": 3600.0,
        },
    )
    calls: int = field(
        default=1,
        metadata={"help": "How many callers at once.", "envvar": "REHEARSE_CALLS", "min": 1, "max": 64},
    )
    jitter_ms: float = field(
        default=0.0,
        metadata={
            "help": "Hold up each of the caller's packets by a random time, at most so many milliseconds.",
            "envvar": "REHEARSE_JITTER_MS",
            "min": 0.0,
            "max": 500.0,
        },
    )
    report: Path = field(
        default=Path("report"),
        metadata={
            "help": "Directory for the recording, the transcript, the measurements and the picture.",
            "envvar": "REHEARSE_REPORT",
            "metavar": "DIR",
        },
    )
