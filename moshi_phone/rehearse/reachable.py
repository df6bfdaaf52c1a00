"""A check that a server listens at a rehearsal's URL."""

from __future__ import annotations

import asyncio
import ssl

from moshi_phone.runtime.errors import UserError
from moshi_phone.runtime.urls import split_url

CONNECT_SECS = 10.0
_PORTS = {"ws": 80, "wss": 443}


class Unreachable(UserError):
    """No server answers, or the URL is invalid; the message is one sentence with the remedy."""


async def check_reachable(url: str, *, within_secs: float = CONNECT_SECS) -> None:
    """Connect to a stream's host and port, and disconnect.

    Args:
        url: the stream's URL, ``ws://`` or ``wss://``.
        within_secs: timeout.

    Raises:
        Unreachable: when the connection fails, or the URL is invalid.
    """
    parts = split_url(url)
    host, port = parts.hostname, parts.port or _PORTS.get(parts.scheme)
    if not host or port is None or parts.scheme not in _PORTS:
        raise Unreachable(f"expected --url ws://HOST:PORT/stream or wss://…, got {url!r}")
    secure = ssl.create_default_context() if parts.scheme == "wss" else None
    try:
        async with asyncio.timeout(within_secs):
            _, writer = await asyncio.open_connection(host, port, ssl=secure)
    except TimeoutError as error:
        raise Unreachable(_nobody(host, port, f"no answer in {within_secs:g} s")) from error
    except OSError as error:
        raise Unreachable(_nobody(host, port, _why(error))) from error
    writer.close()  # not awaited: the peer may never answer TLS's close


def _nobody(host: str, port: int, why: str) -> str:
    return f"Nobody answers at {host}:{port} ({why}); start the server there first, or leave --url out."


def _why(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or error}".replace("_", " ").lower()
    return error.strerror or str(error)
