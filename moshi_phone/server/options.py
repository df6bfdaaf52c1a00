"""Options of the server. The command line is generated from these fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from moshi_phone.audio.silence_trimmer import DEFAULT_LEAD_MS


@dataclass(frozen=True)
class ServerOptions:
    """Each field is a command-line option; ``metadata["help"]`` is its text in ``--help``."""

    GROUP: ClassVar = "advanced"

    host: str = field(
        default="127.0.0.1",
        metadata={
            "group": "phone",
            "help": "Address to listen on. The default accepts local connections only, which is enough "
            "for --tunnel.",
        },
    )
    port: int = field(
        default=5001,
        metadata={"group": "phone", "help": "Port to listen on; 0 takes a free one.", "min": 0, "max": 65535},
    )
    pipeline: str = field(
        default="pipelines.phone_call:phone_call",
        metadata={
            "group": "parts",
            "help": "Function that assembles a call from its stages, such as "
            "pipelines.line_mirror:line_mirror, or your own.",
            "metavar": "MODULE:FUNCTION",
        },
    )
    pipeline_option: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "An option for your own pipeline function, in CallParts.options; may be repeated.",
            "texts": True,
            "metavar": "KEY=VALUE",
        },
    )
    log_level: Literal["debug", "info", "warning", "error"] = field(
        default="info", metadata={"help": "Minimum level to log."}
    )
    log_format: Literal["text", "json"] = field(
        default="text",
        metadata={"help": "Log format: text, or json for JSON Lines."},
    )
    playout_lead_ms: float = field(
        default=DEFAULT_LEAD_MS,
        metadata={
            "help": "Milliseconds of audio to keep in Twilio's buffer against late frames; more than that"
            " is trimmed in the next pause.",
            "min": 0.0,
            "max": 1000.0,
        },
    )
    start_secs: float = field(
        default=10.0,
        metadata={"help": "Seconds within which a stream must send its start message.", "min": 0.01},
    )
    idle_secs: float = field(
        default=30.0,
        metadata={
            "help": "Seconds without media after which a call is ended; 0 for never. Twilio sends media "
            "during silence, too, but not on hold.",
            "min": 0.0,
        },
    )
    hangup_key: Literal["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "*", "#"] | None = field(
        default=None, metadata={"group": "calls", "help": "Key that ends the call, such as #."}
    )
    drain_secs: float = field(
        default=300.0,
        metadata={
            "help": "Seconds that running calls may continue after SIGTERM or Ctrl-C before they are handed "
            "over (docs/calls.md) or hung up.",
            "min": 0.0,
        },
    )
