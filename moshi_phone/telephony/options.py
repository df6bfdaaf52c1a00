"""Where the line listens. The command line is made from these fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True)
class TwilioOptions:
    """The account with the phone company."""

    GROUP: ClassVar = "phone"

    account_sid: str | None = field(
        default=None, metadata={"help": "Account SID (AC…).", "envvar": "TWILIO_ACCOUNT_SID"}
    )
    auth_token: str | None = field(
        default=None,
        repr=False,
        metadata={
            "help": "Auth token. Better in the environment or in .env: a command line can be read by others.",
            "envvar": "TWILIO_AUTH_TOKEN",
        },
    )
    twilio_api_url: str = field(
        default="https://api.twilio.com",
        metadata={
            "group": "tuning",
            "help": "Base URL of the REST API; another one for a proxy, or a stand-in in tests.",
            "envvar": "TWILIO_API_URL",
        },
    )


@dataclass(frozen=True)
class ReachOptions:
    """How the phone company finds this server."""

    GROUP: ClassVar = "phone"

    public_url: str | None = field(
        default=None,
        metadata={
            "help": "The https URL by which the world reaches this server: a host name, or any tunnel.",
            "envvar": "PUBLIC_URL",
        },
    )
    stream_url: str | None = field(
        default=None,
        metadata={
            "group": "tuning",
            "help": "This server's own URL for streams, where several share --public-url for webhooks: a "
            "call's stream must come to the server that was asked for it (docs/deploy.md).",
        },
    )
    tunnel: bool = field(
        default=False,
        metadata={"help": "Open a cloudflared quick tunnel, which gives a public URL without an account."},
    )
    tunnel_wait_secs: float = field(
        default=15.0,
        metadata={
            "group": "tuning",
            "help": "Seconds to wait until the tunnel's URL can be reached from here, too; 0 does not look.",
            "min": 0.0,
        },
    )
    insecure: bool = field(
        default=False,
        metadata={"help": "Be public without TWILIO_AUTH_TOKEN: anybody may open a stream."},
    )
