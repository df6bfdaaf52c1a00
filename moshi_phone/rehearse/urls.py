"""What stands beside a stream: its server's webhook and metrics. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit


def beside(stream_url: str, path: str) -> str:
    """Return the HTTP URL of a path beside a stream: ``ws://host/a/stream`` has ``http://host/a/twiml``.

    Args:
        stream_url: ``ws://`` or ``wss://``.
        path: with a slash before it; empty for the folder itself.
    """
    parts = urlsplit(stream_url)
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    return urlunsplit((scheme, parts.netloc, parts.path.rsplit("/", 1)[0] + path, "", ""))
