"""Which engine answers, and how it is set. The command line is made from these fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class EngineOptions:
    """Every field is an option of the command line: ``metadata["help"]`` is what ``--help`` says of it."""

    engine: Literal["auto", "parrot", "moshi"] = field(
        default="auto",
        metadata={
            "help": "What answers: moshi (the model), parrot (repeats the caller, needs nothing), or auto: "
            "moshi where there is an accelerator, else the parrot."
        },
    )
    parrot_delay: float = field(
        default=1.0,
        metadata={
            "help": "Seconds after which the parrot repeats the caller; 0 makes it a mirror.",
            "min": 0.0,
            "max": 10.0,
        },
    )
    calls: int = field(
        default=1, metadata={"help": "How many calls Moshi holds at once (the parrot: 64).", "min": 1}
    )
