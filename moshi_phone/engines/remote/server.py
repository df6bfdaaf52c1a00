"""A server given on the command line: its address and its kind."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from moshi_phone.engines.duplex import EngineUnavailable
from moshi_phone.engines.remote.protocol import CHAT_PATH
from moshi_phone.engines.remote.server_profile import KINDS, PROFILES, ServerKind, ServerProfile
from moshi_phone.runtime.urls import split_url

_USUAL_PORT = 8998  # of all these servers; a URL without a port means 80 or 443, as usual
_SCHEMES = {"ws": "ws", "http": "ws", "wss": "wss", "https": "wss"}
MAX_QUERY_BYTES = 6000  # aiohttp, which two of the servers use, accepts 8,190 for the whole line


@dataclass(frozen=True)
class Server:
    """One Moshi server.

    Attributes:
        name: its host and port, for people; contains no secret.
        url: of its chat, ``ws://`` or ``wss://``, with the given query.
        profile: properties of its kind.
    """

    name: str
    url: str
    profile: ServerProfile

    @property
    def is_encrypted(self) -> bool:
        """Whether the connection is TLS."""
        return self.url.startswith("wss:")

    @property
    def probe_url(self) -> str:
        """URL for a plain GET that shows whether the server answers, without loading its model."""
        parts = urlsplit(self.url)
        return urlunsplit(("https" if self.is_encrypted else "http", parts.netloc, parts.path, "", ""))

    def chat_url(self, query: dict[str, str]) -> str:
        """Return the URL of a call.

        Args:
            query: the call's settings; they precede the query given with the server's URL.
        """
        parts = urlsplit(self.url)
        merged = dict(parse_qsl(parts.query, keep_blank_values=True)) | query
        return urlunsplit(parts._replace(query=urlencode(merged)))


def parse_server(given: str, default_kind: ServerKind) -> Server:
    """Parse a value of ``--server``: ``ws://gpu-1:8998`` or ``wss://gpu-2:8998#rust``.

    Raises:
        EngineUnavailable: when the URL is invalid.
    """
    wrong = f"--server: expected a URL like ws://gpu-1:{_USUAL_PORT}"
    parts = split_url(given)
    scheme = _SCHEMES.get(parts.scheme)
    if scheme is None or not parts.hostname:
        shown = given if "@" not in given else "one with a password"
        raise EngineUnavailable(f"{wrong}, got {shown!r}")
    if parts.username or parts.password:
        raise EngineUnavailable(f"{wrong}, got one with a password; --server-token is sent as a header.")
    port = parts.port or (443 if scheme == "wss" else 80)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    kind = next((kind for kind in KINDS if kind == (parts.fragment or default_kind)), None)
    if kind is None:
        raise EngineUnavailable(
            f"--server {host}:{port}: expected one of {', '.join(KINDS)} after the #, got {parts.fragment!r}"
        )
    profile = PROFILES[kind]
    for name, _ in parse_qsl(parts.query, keep_blank_values=True):
        if name in profile.forbidden:
            raise EngineUnavailable(
                f"--server {host}:{port}: {profile.title} breaks on {name!r} in the query; leave it out."
            )
    path = CHAT_PATH if parts.path in ("", "/") else parts.path
    return Server(f"{host}:{port}", urlunsplit((scheme, f"{host}:{port}", path, parts.query, "")), profile)
