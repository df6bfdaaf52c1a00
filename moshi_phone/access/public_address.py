"""The public URL of this server, from ``--public-url`` or a tunnel."""

from __future__ import annotations

import re
from dataclasses import dataclass

from moshi_phone.runtime.errors import UserError
from moshi_phone.runtime.urls import split_url

STREAM_PATH = "/stream"
TWIML_PATH = "/twiml"
NEXT_PATH = "/twiml/next"
STATUS_PATH = "/status"
TRANSFERRED_PATH = "/transferred"
RECORDED_PATH = "/recorded"
WHISPER_PATH = "/whisper"
HEALTH_PATH = "/healthz"

_HOST = re.compile(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?")


class BadPublicUrl(UserError):
    """The text is not a URL that Twilio can use. The message states the expected form."""


@dataclass
class PublicAddress:
    """The public URL, or None while there is none. A restarted tunnel changes it.

    Attributes:
        base: ``https://HOST`` or ``https://HOST/PREFIX``, without a trailing slash.
    """

    base: str | None = None

    def https(self, path: str) -> str | None:
        """Return the public URL of one of our paths; None without one."""
        return None if self.base is None else self.base + path

    def wss(self, path: str) -> str | None:
        """Return the public WebSocket URL of one of our paths; None without one."""
        return None if self.base is None else "wss" + self.base.removeprefix("https") + path


def parse_public_url(text: str) -> str:
    """Parse ``--public-url`` into the form of ``PublicAddress.base``.

    Takes ``https://``, ``wss://`` or a bare host name, and any slash at the end.

    Raises:
        BadPublicUrl: for anything else: Twilio opens streams over TLS only, and strips queries.
    """
    given = text.strip()
    parts = split_url(given if "://" in given else f"https://{given}")
    if (
        parts.scheme not in ("https", "wss")
        or not _HOST.fullmatch(parts.netloc)
        or parts.query
        or parts.fragment
    ):
        raise BadPublicUrl(f"expected a public URL such as https://phone.example.com, got {text!r}")
    path = parts.path.rstrip("/")
    for ours in (
        NEXT_PATH,
        TWIML_PATH,
        STREAM_PATH,
        STATUS_PATH,
        TRANSFERRED_PATH,
        RECORDED_PATH,
        HEALTH_PATH,
    ):
        if path.endswith(ours):
            base = f"https://{parts.netloc}{path.removesuffix(ours)}"
            raise BadPublicUrl(
                f"expected a public URL without {ours}, which is added to it: {base}, got {text!r}"
            )
    return f"https://{parts.netloc.lower()}{path}"
