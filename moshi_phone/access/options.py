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
    admin_port: int | None = field(
        default=None,
        metadata={
            "help": "A port for /metrics, /healthz and /calls alone, without a password and also while the "
            "server is public; 0 takes a free one.",
            "min": 0,
            "max": 65535,
        },
    )
    admin_host: str = field(
        default="127.0.0.1",
        metadata={
            "help": "Address of --admin-port; another one than this machine's is open to all who reach it."
        },
    )
