"""URLs: splitting of typed ones, and paths next to a stream. Pure."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import SplitResult, urlsplit, urlunsplit

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


def beside(stream_url: str, path: str) -> str:
    """Return the HTTP URL of a path next to a stream: ``ws://host/a/stream`` has ``http://host/a/twiml``.

    Args:
        stream_url: ``ws://`` or ``wss://``.
        path: begins with a slash; empty for the folder itself.
    """
    parts = urlsplit(stream_url)
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    return urlunsplit((scheme, parts.netloc, parts.path.rsplit("/", 1)[0] + path, "", ""))
