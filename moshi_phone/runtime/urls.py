"""URLs that a person has typed."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import SplitResult, urlsplit

_NO_URL = SplitResult("", "", "", "", "")


def split_url(text: str) -> SplitResult:
    """Take a URL apart; of what is none all parts are empty.

    ``urlsplit`` raises for brackets that do not belong together, and its result, when it is asked for a port
    that cannot be one.
    """
    with suppress(ValueError):
        parts = urlsplit(text.strip())
        if parts.port is None or parts.port > 0:
            return parts
    return _NO_URL
