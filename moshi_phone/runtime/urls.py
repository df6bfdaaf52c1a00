"""URLs that a person has typed."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import SplitResult, urlsplit

_NO_URL = SplitResult("", "", "", "", "")


def split_url(text: str) -> SplitResult:
    """Split a URL; for an invalid one, all parts are empty.

    ``urlsplit`` raises on unbalanced brackets, and its result raises on reading an invalid port.
    """
    with suppress(ValueError):
        parts = urlsplit(text.strip())
        if parts.port is None or parts.port > 0:
            return parts
    return _NO_URL
