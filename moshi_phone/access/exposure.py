"""Does not let a server start that anybody could use."""

from __future__ import annotations

from moshi_phone.access.source import is_loopback
from moshi_phone.runtime.errors import UserError


class Exposed(UserError):
    """The server would be open to everybody. The text is one sentence that says what to set."""


def check_exposure(
    *, host: str, public_url: str | None, tunnel: bool, auth_token: str | None, insecure: bool
) -> None:
    """Make sure that strangers cannot come in, or that this is meant.

    Without an auth token nothing tells Twilio's streams from anybody else's, and every stream costs a
    session. On loopback alone that does no harm.

    Args:
        host: the address that is listened on.
        public_url: that others are told, or None.
        tunnel: whether a tunnel is opened.
        auth_token: of the Twilio account, or None.
        insecure: whether everybody is meant to come in.

    Raises:
        Exposed: naming what makes the server public.
    """
    if auth_token or insecure:
        return
    opening = (
        "--tunnel"
        if tunnel
        else "--public-url"
        if public_url
        else None
        if is_loopback(host)
        else f"--host {host}"
    )
    if opening:
        raise Exposed(
            f"{opening} opens this line to everybody: set TWILIO_AUTH_TOKEN (and TWILIO_ACCOUNT_SID; both "
            "are at https://console.twilio.com), or say --insecure if that is what you want."
        )
