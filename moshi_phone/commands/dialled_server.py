"""The server of ``dial --url``: the URLs that Twilio is given, and the persona that travels with the call."""

from __future__ import annotations

from moshi_phone.access.public_address import STREAM_PATH
from moshi_phone.commands.errors import Unusable
from moshi_phone.engines.options import EngineOptions
from moshi_phone.engines.personas import read_persona
from moshi_phone.runtime.urls import split_url
from moshi_phone.telephony.twiml import next_path

MAX_PARAMETER_CHARS = 499  # Twilio takes parameters of fewer than 500 characters


def stream_url(text: str) -> str:
    """Return the URL of the server's stream; the path may be omitted.

    Args:
        text: as typed.

    Raises:
        Unusable: when it is no wss URL, or has a query.
    """
    parts = split_url(text)
    if parts.scheme != "wss" or not parts.hostname or parts.query or parts.fragment:
        raise Unusable(f"Expected --url wss://HOST{STREAM_PATH}, got {text!r}.")
    return parts._replace(path=parts.path.rstrip("/") or STREAM_PATH).geturl()


def next_url(stream_url: str) -> str | None:
    """Return the URL of a stream server's next-step webhook; None if its paths are not ours."""
    base = stream_url.removesuffix(STREAM_PATH)
    return None if base == stream_url else "https" + base.removeprefix("wss") + next_path(0)


def persona_parameter(options: EngineOptions) -> str:
    """Return the persona for the server's engine; Twilio passes it on as a parameter of the stream.

    Raises:
        Unusable: when it is too long for that.
    """
    persona = read_persona(options.persona)
    if len(persona) > MAX_PARAMETER_CHARS:
        raise Unusable(
            f"Twilio carries a persona of at most {MAX_PARAMETER_CHARS} characters to the server at --url, "
            f"got {len(persona)}; give it a name in that server's --personas, and that name here."
        )
    return persona
