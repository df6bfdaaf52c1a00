"""URLs relative to a stream: its server's webhook and metrics. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit


def beside(stream_url: str, path: str) -> str:
    """Return the HTTP URL of a path next to a stream: ``ws://host/a/stream`` has ``http://host/a/twiml``.

    Args:
        stream_url: ``ws://`` or ``wss://``.
        path: begins with a slash; empty for the folder itself.
    """
    parts = urlsplit(stream_url)
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    return urlunsplit((scheme, parts.netloc, parts.path.rsplit("/", 1)[0] + path, "", ""))
