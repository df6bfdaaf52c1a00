"""Options of the Twilio account and the public URL. The command line is generated from these fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True)
class TwilioOptions:
    """The Twilio account."""

    GROUP: ClassVar = "phone"

    account_sid: str | None = field(
        default=None, metadata={"help": "Account SID (AC…).", "envvar": "TWILIO_ACCOUNT_SID"}
    )
    auth_token: str | None = field(
        default=None,
        repr=False,
        metadata={
            "help": "Auth token. Set it in the environment or in .env: other users can read a command line.",
            "envvar": "TWILIO_AUTH_TOKEN",
        },
    )
    twilio_api_url: str = field(
        default="https://api.twilio.com",
        metadata={
            "group": "advanced",
            "help": "Base URL of Twilio's REST API, for a proxy or a test server.",
            "envvar": "TWILIO_API_URL",
        },
    )


@dataclass(frozen=True)
class ReachOptions:
    """The public address of this server."""

    GROUP: ClassVar = "phone"

    public_url: str | None = field(
        default=None,
        metadata={
            "help": "Public https URL of this server: your host name, or any tunnel.",
            "envvar": "PUBLIC_URL",
        },
    )
    stream_url: str | None = field(
        default=None,
        metadata={
            "group": "advanced",
            "help": "This server's own URL for streams, if several servers share --public-url for "
            "webhooks (docs/deploy.md).",
        },
    )
    tunnel: bool = field(
        default=False,
        metadata={"help": "Open a cloudflared quick tunnel: a public URL without an account."},
    )
    tunnel_wait_secs: float = field(
        default=15.0,
        metadata={
            "group": "advanced",
            "help": "Seconds to wait until the tunnel's URL is reachable from this machine; 0 skips the "
            "check.",
            "min": 0.0,
        },
    )
    insecure: bool = field(
        default=False,
        metadata={"help": "Run in public without TWILIO_AUTH_TOKEN. Anyone can then open a stream."},
    )
