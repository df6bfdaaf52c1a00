"""Refuses to start a server that is open to everybody, unless that is intended."""

from __future__ import annotations

from moshi_phone.access.source import is_loopback
from moshi_phone.runtime.errors import UserError


class Exposed(UserError):
    """The server would be open to everybody. The text is one sentence that names the option to set."""


def check_exposure(
    *, host: str, public_url: str | None, tunnel: bool, auth_token: str | None, insecure: bool
) -> None:
    """Check that strangers have no access, or that access for all is intended.

    Without an auth token, Twilio's streams are indistinguishable from anybody else's, and every stream takes
    a session. On loopback alone that is harmless.

    Args:
        host: the address to listen on.
        public_url: where the server can be reached, or None.
        tunnel: whether a tunnel is opened.
        auth_token: of the Twilio account, or None.
        insecure: whether access for everybody is intended.

    Raises:
        Exposed: naming what makes the server public.
    """
    if auth_token or insecure:
        return
    if tunnel:
        opening = "--tunnel"
    elif public_url:
        opening = "--public-url"
    else:
        opening = "" if is_loopback(host) else f"--host {host}"
    if opening:
        raise Exposed(
            f"{opening} opens this server to everybody: set TWILIO_AUTH_TOKEN (and TWILIO_ACCOUNT_SID; both "
            "are at https://console.twilio.com), or add --insecure if that is intended."
        )
