"""Who may talk and watch in a browser. The command line is made from these fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True)
class WebOptions:
    """Every field is an option of the command line: ``metadata["help"]`` is what ``--help`` says of it."""

    GROUP: ClassVar = "web"

    web: bool = field(
        default=False,
        metadata={
            "help": "Serve the browser phone, /calls and /metrics to the public too, behind --web-password. "
            "Without it they are for this machine only, and off while the server is public."
        },
    )
    web_password: str | None = field(
        default=None,
        repr=False,
        metadata={
            "help": "The password for --web, 8 characters or more; the user name may be anything. "
            "Better in the environment or in .env: a command line can be read by others."
        },
    )
