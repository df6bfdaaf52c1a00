"""Options of a rehearsal. The command line is generated from these fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar


@dataclass(frozen=True)
class RehearseOptions:
    """Each field is a command-line option; ``metadata["help"]`` is its text in ``--help``."""

    GROUP: ClassVar = "rehearsal"

    url: str | None = field(
        default=None,
        metadata={
            "help": "Stream URL of a running server, ws://HOST:PORT/stream. Default: start a server with "
            "the engine that the other options select.",
            "envvar": "REHEARSE_URL",
            "metavar": "URL",
        },
    )
    caller: Path | None = field(
        default=None,
        metadata={
            "help": "WAV or FLAC file of speech that the caller plays; with --conversation, a directory of "
            "clips with a clips.toml. Default: embedded clips.",
            "envvar": "REHEARSE_CALLER",
            "metavar": "FILE",
        },
    )
    secs: float = field(
        default=20.0,
        metadata={
            "help": "Length of the call in seconds, 6 at least.",
            "envvar": "REHEARSE_SECS",
            "min": 6.0,
            "max": 3600.0,
        },
    )
    calls: int = field(
        default=1,
        metadata={"help": "Number of simultaneous callers.", "envvar": "REHEARSE_CALLS", "min": 1, "max": 64},
    )
    conversation: bool = field(
        default=False,
        metadata={
            "help": "Play the scenes of a conversation with a caller who reacts to the bot, and judge each.",
            "envvar": "REHEARSE_CONVERSATION",
        },
    )
    rounds: int = field(
        default=1,
        metadata={
            "help": "Number of rounds of calls, one after the other, for means with intervals.",
            "envvar": "REHEARSE_ROUNDS",
            "min": 1,
            "max": 100,
        },
    )
    jitter_ms: float = field(
        default=0.0,
        metadata={
            "help": "Delay each packet of the caller by a random time of up to this many milliseconds.",
            "envvar": "REHEARSE_JITTER_MS",
            "min": 0.0,
            "max": 500.0,
        },
    )
    echo_ms: float | None = field(
        default=None,
        metadata={
            "help": "Let the caller's phone return an echo of the bot, this many milliseconds later. "
            "Default: none.",
            "envvar": "REHEARSE_ECHO_MS",
            "min": 30.0,
            "max": 800.0,
        },
    )
    echo_db: float = field(
        default=15.0,
        metadata={
            "help": "Attenuation of the echo of --echo-ms, in dB.",
            "envvar": "REHEARSE_ECHO_DB",
            "min": 0.0,
            "max": 60.0,
        },
    )
    noise_db: float | None = field(
        default=None,
        metadata={
            "help": "Add noise to the caller, this many dB below a voice. Default: none.",
            "envvar": "REHEARSE_NOISE_DB",
            "min": 0.0,
            "max": 60.0,
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
