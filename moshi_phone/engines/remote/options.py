"""Options of remote servers. The command line is generated from these fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from moshi_phone.engines.remote.server_profile import ServerKind


@dataclass(frozen=True)
class RemoteOptions:
    """Each field is a command-line option; ``metadata["help"]`` is its text in ``--help``."""

    GROUP: ClassVar = "engine"

    server: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "URL of a Moshi server that answers calls, such as ws://gpu-1:8998; repeat it for "
            "several. Append #kyutai, #rust or #personaplex to name its type.",
            "metavar": "URL",
        },
    )
    server_kind: ServerKind = field(
        default="kyutai",
        metadata={
            "group": "advanced",
            "help": "Type of --server URLs without a #type: Kyutai's Python server, Kyutai's Rust "
            "backend, or NVIDIA's PersonaPlex server.",
        },
    )
    calls_per_server: int = field(
        default=1,
        metadata={
            "help": "Number of calls that one server holds at once. Only Kyutai's Rust backend holds "
            "several; with the others a second caller waits in silence.",
            "min": 1,
        },
    )
    server_wait_secs: float = field(
        default=20.0,
        metadata={
            "group": "advanced",
            "help": "Seconds to wait for a server to load its model for a call.",
            "min": 0.5,
            "max": 120.0,
        },
    )
    server_ca: Path | None = field(
        default=None,
        metadata={
            "help": "PEM file of certificates to trust instead of the system's: those of authorities, "
            "or the server's own, whose host name is then not checked.",
            "metavar": "FILE",
        },
    )
    server_insecure: bool = field(
        default=False,
        metadata={
            "help": "Do not verify server certificates. An attacker on the network can then listen and speak."
        },
    )
    server_token: str = field(
        default="",
        repr=False,  # a secret
        metadata={"help": "Token sent to servers as Authorization: Bearer, for a proxy that requires it."},
    )
    max_steps: int = field(
        default=4500,
        metadata={
            "group": "advanced",
            "help": "Frames of 80 ms after which Kyutai's Rust backend ends a call; 4500 is its limit.",
            "min": 1,
            "max": 4500,
        },
    )
