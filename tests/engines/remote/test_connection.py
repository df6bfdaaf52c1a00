"""Connecting: TLS, tokens, probes, and one sentence for each error. Real sockets."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from moshi_phone.engines.duplex import EngineUnavailable
from moshi_phone.engines.remote.connection import (
    Access,
    ServerFailed,
    ServerUnreachable,
    make_tls,
    open_chat,
    probe,
)
from moshi_phone.engines.remote.server import Server, parse_server
from tests.fakes.moshi_behaviour import Behaviour
from tests.fakes.moshi_server import moshi_server

WAIT_SECS = 20.0


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """The CA of the servers' certificates; no system trusts it."""
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    """A file for --server-ca."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    """The TLS context of a server on this machine."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@asynccontextmanager
async def answering(status: int, headers: dict[str, str] | None = None) -> AsyncIterator[Server]:
    """A web server that answers each request with this status."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, headers=headers)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield parse_server(f"ws://127.0.0.1:{runner.addresses[0][1]}", "kyutai")
    finally:
        await runner.cleanup()


def self_signed(name: str) -> tuple[bytes, bytes]:
    """Return a key and a certificate, PEM, as the Rust backend creates them."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "rcgen self signed cert")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    return (
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        certificate.public_bytes(pem),
    )


async def chat(server: Server, access: Access | None = None, query: dict[str, str] | None = None) -> None:
    async with open_chat(server, query or {}, access or Access(), WAIT_SECS):
        pass


# Encryption.


async def test_the_rust_backend_s_certificate_is_trusted_with_server_ca(
    ca_file: Path, server_tls: ssl.SSLContext
) -> None:
    async with moshi_server(Behaviour("rust"), server_tls) as fake:
        server = parse_server(f"{fake.url}#rust", "kyutai")
        access = Access(tls=make_tls(ca_file, insecure=False))
        assert await probe(server, access) is None
        await chat(server, access)


@pytest.mark.parametrize("signed_by_an_authority", [False, True])
async def test_a_pinned_certificate_may_have_any_host_name(
    tmp_path: Path, signed_by_an_authority: bool
) -> None:
    """Kyutai's Rust backend creates one for ``localhost``, but is reached by another name."""
    maker = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate = maker.issue_cert("localhost")
    certificate.configure_cert(context)
    own = tmp_path / "own.pem"
    certificate.cert_chain_pems[0].write_to_path(str(own))
    if not signed_by_an_authority:
        key, own_pem = self_signed("localhost")
        (tmp_path / "key.pem").write_bytes(key)
        own.write_bytes(own_pem)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(own, tmp_path / "key.pem")
    async with moshi_server(Behaviour("rust"), context) as fake:
        server = parse_server(f"{fake.url}#rust", "kyutai")
        access = Access(tls=make_tls(own, insecure=False))
        assert await probe(server, access) is None
        await chat(server, access)


async def test_a_certificate_of_a_ca_must_have_the_host_name(authority: trustme.CA, ca_file: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    async with moshi_server(Behaviour("rust"), context) as fake:
        server, access = parse_server(fake.url, "rust"), Access(tls=make_tls(ca_file, insecure=False))
        with pytest.raises(ServerUnreachable) as refused:
            await chat(server, access)
        for said in (str(refused.value), await probe(server, access)):
            assert said is not None
            assert "has a certificate for another name (it is not valid for 127.0.0.1)" in said


async def test_the_error_names_a_server_ca_without_the_certificate(
    server_tls: ssl.SSLContext, tmp_path: Path
) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    async with moshi_server(Behaviour("rust"), server_tls) as fake:
        server, access = parse_server(fake.url, "rust"), Access(tls=make_tls(other, insecure=False))
        with pytest.raises(ServerUnreachable, match="that --server-ca does not hold, nor its authority's"):
            await chat(server, access)


async def test_server_insecure_trusts_any_certificate(server_tls: ssl.SSLContext) -> None:
    async with moshi_server(Behaviour("rust"), server_tls) as fake:
        server = parse_server(fake.url, "rust")
        access = Access(tls=make_tls(None, insecure=True))
        assert await probe(server, access) is None
        await chat(server, access)


async def test_the_error_of_an_untrusted_certificate_names_both_remedies(server_tls: ssl.SSLContext) -> None:
    async with moshi_server(Behaviour("rust"), server_tls) as fake:
        server, access = parse_server(fake.url, "rust"), Access(tls=make_tls(None, insecure=False))
        with pytest.raises(ServerUnreachable) as refused:
            await chat(server, access)
        for said in (str(refused.value), await probe(server, access)):
            assert said is not None
            assert said.startswith(f"Server {server.name} has a certificate that is not trusted (")
            assert "--server-ca FILE names one to trust, --server-insecure trusts any" in said


async def test_the_error_of_a_server_without_tls_names_the_remedy() -> None:
    async with moshi_server() as fake:
        server = parse_server(fake.url.replace("ws:", "wss:"), "rust")
        access = Access(tls=make_tls(None, insecure=True))
        with pytest.raises(ServerUnreachable) as refused:
            await chat(server, access)
        for said in (str(refused.value), await probe(server, access)):
            assert said is not None
            assert "does not speak TLS as expected; its URL may have to begin with ws:" in said


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_an_invalid_certificate_file(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(EngineUnavailable, match=r"--server-ca .*ca\.pem: cannot read certificates"):
        make_tls(path, insecure=False)


# The token.


async def test_the_token_is_sent_with_every_request_and_never_logged(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with moshi_server(Behaviour(token="s3cret")) as fake:
        server, access = parse_server(fake.url, "kyutai"), Access("s3cret")
        assert await probe(server, access) is None
        await chat(server, access)
        assert fake.visits[0].headers["Authorization"] == "Bearer s3cret"
        assert "s3cret" not in repr(access)


async def test_the_error_of_a_missing_token_names_the_option() -> None:
    async with moshi_server(Behaviour(token="s3cret")) as fake:
        server = parse_server(fake.url, "kyutai")
        said = f"Server {server.name} refuses access (HTTP 401); --server-token sets the token"
        with pytest.raises(ServerUnreachable) as refused:
            await chat(server)
        assert str(refused.value) == said
        assert await probe(server, Access("wrong")) == said


async def test_a_redirect_does_not_get_the_token() -> None:
    async with (
        moshi_server() as elsewhere,
        answering(307, {"Location": f"{elsewhere.url}/api/chat"}) as server,
    ):
        await chat(server, Access("s3cret"))
        assert "Authorization" not in elsewhere.visits[0].headers


# What can be wrong.


@pytest.mark.parametrize(
    ("status", "said", "by_probe"),
    [
        (200, "does not speak WebSocket as expected", False),
        (403, "refuses access (HTTP 403); --server-token sets the token", True),
        (404, "is not a Moshi server: it has no /api/chat (HTTP 404)", True),
        (429, "answered HTTP 429 instead of opening a WebSocket", False),
        (502, "answers with an error (HTTP 502)", True),
    ],
)
async def test_an_http_answer_is_reported_with_its_status(status: int, said: str, by_probe: bool) -> None:
    async with answering(status) as server:
        with pytest.raises(ServerUnreachable) as refused:
            await chat(server)
        if status != 200:
            assert str(refused.value) == f"Server {server.name} {said}"
        assert await probe(server, Access()) == (f"Server {server.name} {said}" if by_probe else None)


async def test_a_refused_connection() -> None:
    async with moshi_server() as fake:
        server = parse_server(fake.url, "kyutai")
    with pytest.raises(ServerUnreachable, match=rf"^Server {server.name} cannot be reached \(.+\)$"):
        await chat(server)
    assert (await probe(server, Access()) or "").startswith(f"Server {server.name} cannot be reached (")


async def test_an_unknown_host_name() -> None:
    server = parse_server("ws://no-such-host.invalid:1", "kyutai")
    with pytest.raises(ServerUnreachable, match=r"^Server no-such-host.invalid:1 cannot be reached \("):
        await chat(server)
    assert "cannot be reached (" in (await probe(server, Access()) or "")


@asynccontextmanager
async def listening(says: bytes) -> AsyncIterator[Server]:
    """A server that sends this to each connection, and nothing more."""
    over = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(says)
        if not says:
            await over.wait()
        writer.close()
        await writer.wait_closed()
        done.set()

    done = asyncio.Event()
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as other:
        yield parse_server(f"ws://127.0.0.1:{other.sockets[0].getsockname()[1]}", "kyutai")
        over.set()
        await done.wait()


async def test_a_server_of_another_protocol() -> None:
    async with listening(b"220 mail ready\r\n") as server:
        with pytest.raises(ServerUnreachable, match=r"does not speak WebSocket as expected"):
            await chat(server)
        assert (await probe(server, Access()) or "").startswith(f"Server {server.name} ")


async def test_a_server_that_never_answers() -> None:
    async with listening(b"") as server:
        with pytest.raises(ServerUnreachable, match=r"did not answer in time"):
            async with open_chat(server, {}, Access(), 0.1):
                pass


async def test_errors_do_not_contain_the_persona() -> None:
    async with answering(500) as server:
        with pytest.raises(ServerFailed) as refused:
            await chat(server, query={"text_prompt": "You are Anna."})
    assert "Anna" not in str(refused.value)


async def test_a_probe_does_not_load_the_model() -> None:
    async with moshi_server() as fake:
        assert await probe(parse_server(fake.url, "kyutai"), Access()) is None
        assert (fake.gets, fake.visits) == (1, [])
