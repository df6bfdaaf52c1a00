"""Connections to servers, including the handshake, and their errors in one sentence each."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

import aiohttp
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from moshi_phone.engines.duplex import EngineUnavailable
from moshi_phone.engines.remote.pinning import HOSTNAME_MISMATCH, PinningContext
from moshi_phone.engines.remote.protocol import Kind, decode
from moshi_phone.engines.remote.server import Server

NAME_MISMATCHES = (HOSTNAME_MISMATCH, 64)  # OpenSSL's, for a name and for an IP address
PROBE_SECS = 5.0
CLOSE_SECS = 1.0  # time limit of a server's closing handshake
MAX_MESSAGE_BYTES = 1 << 16  # 13 s of audio; servers send 80 ms


class ServerFailed(Exception):
    """A server failed; the message is one sentence that names it."""


class ServerUnreachable(ServerFailed):
    """The server failed before it accepted the call; another server can still take it."""


@dataclass(frozen=True)
class Access:
    """Authentication, and the verification of certificates.

    Attributes:
        token: sent as ``Authorization: Bearer``; empty for none.
        tls: settings of the verification; None if no server uses TLS.
    """

    token: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Headers of each request."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


def make_tls(ca_file: Path | None, *, insecure: bool) -> ssl.SSLContext:
    """Create the TLS settings for servers.

    Args:
        ca_file: certificates (PEM) to trust instead of the system's: of authorities, or the server's own,
            whose host name is then not checked.
        insecure: whether to verify nothing.

    Raises:
        EngineUnavailable: when the file cannot be read.
    """
    try:
        context = ssl.create_default_context() if ca_file is None else PinningContext.from_file(ca_file)
    except (OSError, ValueError, ssl.SSLError) as error:
        raise EngineUnavailable(
            f"--server-ca {ca_file}: cannot read certificates from it ({error})."
        ) from error
    # Replaces the context: a pinning one would still check names.
    if insecure:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


@asynccontextmanager
async def open_chat(
    server: Server, query: dict[str, str], access: Access, wait_secs: float
) -> AsyncIterator[ClientConnection]:
    """Connect, wait for the handshake, and yield the connection; it is closed at the end of the block.

    Nothing is sent before the handshake: some servers would lose it, others would stay behind by as much.

    Args:
        server: the server.
        query: the call's query for its URL.
        access: token and TLS settings.
        wait_secs: time limit for connection and handshake.

    Raises:
        ServerUnreachable: when the connection fails.
        ServerFailed: when the handshake fails.
    """
    loop = asyncio.get_running_loop()
    until_s = loop.time() + wait_secs
    connecting = connect(
        server.chat_url(query),
        additional_headers=access.headers,
        ssl=access.tls if server.is_encrypted else None,
        open_timeout=wait_secs,
        close_timeout=CLOSE_SECS,
        ping_interval=None,  # the session sends its own, after the handshake
        compression=None,
        max_size=MAX_MESSAGE_BYTES,
    )
    try:
        connection = await connecting
    except (OSError, WebSocketException, TimeoutError) as error:
        raise ServerUnreachable(f"Server {server.name} {_why(error, access)}") from error
    # Closed on any exit, also after a failed handshake.
    async with connection:
        try:
            async with asyncio.timeout_at(until_s):
                await _handshake(connection, server)
        except TimeoutError as error:
            raise ServerFailed(
                f"Server {server.name} sent no handshake in time (--server-wait-secs): "
                "it is still loading, or busy with another caller"
            ) from error
        yield connection


async def _handshake(connection: ClientConnection, server: Server) -> None:
    while True:
        try:
            message = decode(await connection.recv())
        except ConnectionClosed as error:
            raise ServerFailed(
                f"Server {server.name} closed the connection before its handshake ({close_code(error)})"
            ) from error
        if message is not None and message.kind is Kind.HANDSHAKE:
            return
        if message is not None and message.kind is Kind.ERROR:
            raise ServerFailed(f"Server {server.name} reports an error: {message.error}")


async def probe(server: Server, access: Access) -> str | None:
    """Check whether the server answers, without loading its model or disturbing a running call.

    Sends a plain GET of the chat's path, which all these servers refuse first of all, because it is no
    WebSocket.

    Returns:
        None if it answers, else the error in one sentence.
    """
    timeout = aiohttp.ClientTimeout(total=PROBE_SECS)
    try:
        async with (
            aiohttp.ClientSession(
                timeout=timeout, trust_env=True
            ) as http,  # through the same proxy as a call
            http.get(
                server.probe_url,
                headers=access.headers,
                ssl=access.tls if server.is_encrypted and access.tls is not None else True,
                allow_redirects=False,  # following a redirect would hide that this is no Moshi server
            ) as answer,
        ):
            why = _why_status(answer.status)
            return None if why is None else f"Server {server.name} {why}"
    except aiohttp.ClientConnectorCertificateError as error:
        return f"Server {server.name} {_why(error.certificate_error, access)}"
    except aiohttp.ClientConnectorError as error:
        return f"Server {server.name} {_why(error.os_error, access)}"
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        return f"Server {server.name} {_why(error, access)}"


def close_code(error: ConnectionClosed) -> str:
    """Return the close code of the other side, as text."""
    return f"code {error.rcvd.code}" if error.rcvd is not None else "no close frame"


def _why(error: BaseException, access: Access) -> str:
    """Describe an error without the URL, which may contain a persona."""
    if isinstance(error, InvalidStatus):
        status = error.response.status_code
        return _why_status(status) or f"answered HTTP {status} instead of opening a WebSocket"
    if isinstance(error, TimeoutError):
        return "did not answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return _why_certificate(error, is_file_given=isinstance(access.tls, PinningContext))
    if isinstance(error, ssl.SSLError):
        return "does not speak TLS as expected; its URL may have to begin with ws: instead of wss:"
    if isinstance(error, OSError):
        return f"cannot be reached ({error.strerror or type(error).__name__})"
    return f"does not speak WebSocket as expected ({type(error).__name__})"


def _why_certificate(error: ssl.SSLCertVerificationError, *, is_file_given: bool) -> str:
    if error.verify_code in NAME_MISMATCHES:
        return (
            f"has a certificate for another name ({error.verify_message.rstrip('.')}); use the name in it, "
            "or give the server's own certificate by --server-ca, which is enough whatever name is in it"
        )
    if is_file_given:
        return (
            "has a certificate that --server-ca does not hold, nor its authority's "
            f"({error.verify_message}); copy the server's own into that file, --server-insecure trusts any"
        )
    return (
        f"has a certificate that is not trusted ({error.verify_message}); --server-ca FILE names one to "
        "trust, --server-insecure trusts any"
    )


def _why_status(status: int) -> str | None:
    """Describe an HTTP status other than the refusal of a plain GET."""
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return f"refuses access (HTTP {status}); --server-token sets the token"
    if status == HTTPStatus.NOT_FOUND:
        return "is not a Moshi server: it has no /api/chat (HTTP 404)"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return f"answers with an error (HTTP {status})"
    return None
