"""Access to the pages in a browser. The command line is generated from these fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True)
class WebOptions:
    """Each field is a command-line option; ``metadata["help"]`` is its text in ``--help``."""

    GROUP: ClassVar = "web"

    web: bool = field(
        default=False,
        metadata={
            "help": "Serve the browser phone, /calls and /metrics publicly, behind --web-password. "
            "Without it they are available on this machine only, and off while the server is "
            "public."
        },
    )
    web_password: str | None = field(
        default=None,
        repr=False,
        metadata={
            "help": "Password for --web, at least 8 characters, with any user name. Set it in the "
            "environment or in .env: other users can read a command line."
        },
    )
    admin_port: int | None = field(
        default=None,
        metadata={
            "help": "Additional port for /metrics, /healthz and /calls without a password, available "
            "while the server is public; 0 takes a free one.",
            "min": 0,
            "max": 65535,
        },
    )
    admin_host: str = field(
        default="127.0.0.1",
        metadata={
            "group": "advanced",
            "help": "Address of --admin-port. Anyone who reaches another address than this machine's can "
            "read it.",
        },
    )
