"""Which servers answer, and how they are reached. The command line is made from these fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from moshi_phone.engines.remote.server_profile import ServerKind


@dataclass(frozen=True)
class RemoteOptions:
    """Every field is an option of the command line: ``metadata["help"]`` is what ``--help`` says of it."""

    GROUP: ClassVar = "engine"

    server: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "A Moshi server that answers calls, like ws://gpu-1:8998; several take a call each. "
            "#kyutai, #rust or #personaplex after it says of which kind it is.",
            "metavar": "URL",
        },
    )
    server_kind: ServerKind = field(
        default="kyutai",
        metadata={
            "help": "Of servers without a #kind: Kyutai's Python server, Kyutai's Rust backend, or "
            "NVIDIA's PersonaPlex server."
        },
    )
    calls_per_server: int = field(
        default=1,
        metadata={
            "help": "How many calls a server holds at once. Only Kyutai's Rust backend holds several by "
            "itself; the others make the second caller wait in silence.",
            "min": 1,
        },
    )
    server_wait_secs: float = field(
        default=20.0,
        metadata={
            "group": "tuning",
            "help": "How long a server may take until its model is ready for a call.",
            "min": 0.5,
            "max": 120.0,
        },
    )
    server_ca: Path | None = field(
        default=None,
        metadata={
            "help": "Certificates (PEM) to trust instead of the system's; a self-signed one will do.",
            "metavar": "FILE",
        },
    )
    server_insecure: bool = field(
        default=False,
        metadata={"help": "Trust any certificate of a server, also of whoever is in between."},
    )
    server_token: str = field(
        default="",
        repr=False,  # a secret
        metadata={"help": "Sent to servers as Authorization: Bearer, for a proxy that asks for it."},
    )
    max_steps: int = field(
        default=4500,
        metadata={
            "group": "tuning",
            "help": "After how many frames of 80 ms Kyutai's Rust backend ends a call; it allows no more.",
            "min": 1,
            "max": 4500,
        },
    )
