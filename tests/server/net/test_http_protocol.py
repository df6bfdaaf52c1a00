"""Limits on requests: peers who send nothing, half a request, or its body slowly."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack, suppress

import httpx
import pytest

from bot import run_call
from moshi_phone.engines.parrot import ParrotEngine
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.net.connections import (
    NO_BODY,
    NO_REQUEST,
    SEND_STALLED,
    TOO_MANY,
    ConnectionLimits,
    Connections,
)
from moshi_phone.server.net.http_server import uvicorn_config
from moshi_phone.server.web.app import create_app
from tests.support.logs import Logged
from tests.support.phone import serving_app
from tests.support.raw_socket import raw_socket
from tests.support.waiting import until

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
IMPATIENT = ConnectionLimits(
    head_secs=0.3, body_secs=0.3, stalled_secs=0.3, closing_secs=0.3, check_secs=0.05
)


@pytest.fixture
def connections() -> Connections:
    return Connections(IMPATIENT)


def app() -> object:
    return create_app(ServerState(ParrotEngine()), run_call)


@pytest.mark.parametrize(
    "half", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: local", b"POST /twiml HTTP/1.1\r\n"]
)
async def test_an_incomplete_request_is_cut_off(connections: Connections, half: bytes) -> None:
    async with serving_app(uvicorn_config(app(), connections)) as address, raw_socket(address) as peer:
        if half:
            await peer.send(half)
        assert await peer.read() == b""
    assert connections.cut_off == {NO_REQUEST: 1}


async def test_an_incomplete_second_request_is_cut_off(connections: Connections) -> None:
    """The first stops uvicorn's own timer, and every byte of the second stops it again."""
    async with serving_app(uvicorn_config(app(), connections)) as address, raw_socket(address) as peer:
        await peer.send(HEALTH + b"GET /heal")
        assert (await peer.read()).startswith(b"HTTP/1.1 503 ")
    assert connections.cut_off == {NO_REQUEST: 1}


async def test_a_slow_body_is_cut_off(connections: Connections) -> None:
    async with serving_app(uvicorn_config(app(), connections)) as address, raw_socket(address) as peer:
        await peer.send(b"POST /twiml HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")
        with suppress(ConnectionError):
            for _ in range(200):
                await peer.send(b"x")
                await asyncio.sleep(0.02)
    assert connections.cut_off == {NO_BODY: 1}


async def test_a_head_that_is_too_long_is_refused(connections: Connections) -> None:
    async with serving_app(uvicorn_config(app(), connections)) as address, raw_socket(address) as peer:
        await peer.send(b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000)
        assert (await peer.read()).startswith(b"HTTP/1.1 400 ")


async def test_an_unread_response_is_cut_off(connections: Connections) -> None:
    async def endless(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        if scope["type"] != "http":
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while (await asyncio.sleep(0, True)) and not connections.cut_off:
            await send({"type": "http.response.body", "body": b"x" * 10_000, "more_body": True})

    async with serving_app(uvicorn_config(endless, connections)) as address, raw_socket(address) as peer:
        await peer.send(HEALTH)
        await until(lambda: connections.cut_off[SEND_STALLED])


async def test_slow_requests_within_the_limits_are_answered(connections: Connections) -> None:
    patient = Connections(ConnectionLimits(check_secs=0.02))
    async with serving_app(uvicorn_config(app(), patient)) as address, raw_socket(address) as peer:
        for _ in range(2):
            for at in range(0, len(HEALTH), 8):
                await peer.send(HEALTH[at : at + 8])
                await asyncio.sleep(0.03)
        await asyncio.sleep(0.1)
        assert not patient.cut_off
        async with httpx.AsyncClient(base_url=f"http://{address}") as client:
            for _ in range(3):
                assert (await client.get("/healthz")).status_code == 503
    assert not patient.cut_off
    assert patient.waiting == 0


async def test_many_waiting_connections_do_not_block_others() -> None:
    """1,100 silent connections used to be held until the process ran out of file descriptors."""
    connections = Connections(ConnectionLimits(waiting=20))
    async with AsyncExitStack() as crowd, serving_app(uvicorn_config(app(), connections)) as address:
        for _ in range(60):
            await crowd.enter_async_context(raw_socket(address))
        async with httpx.AsyncClient(base_url=f"http://{address}") as client:
            assert (await client.get("/healthz")).status_code == 503
        assert connections.cut_off[TOO_MANY] >= 40
        assert connections.waiting <= 20


POST = b"POST %s HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("path", [b"/nowhere", b"/healthz", b"/calls", b"/twiml"])
async def test_after_an_early_response_the_body_is_not_read(path: bytes) -> None:
    """7 MB in chunks of one byte to any path blocked the event loop for 11 to 14 s."""
    patient = Connections(ConnectionLimits(check_secs=0.02))
    chunks = b"1\r\na\r\n" * 100_000  # 65,536 bytes are read where a form may be
    async with serving_app(uvicorn_config(app(), patient)) as address, raw_socket(address) as peer:
        await peer.send(POST % path)
        with suppress(ConnectionError):
            await peer.send(chunks)
        answer = await peer.read()
    assert re.match(rb"HTTP/1.1 (404|405|413|403) ", answer) or answer == b""  # lost among the unread bytes
    assert b"connection: close" in answer.lower() or answer == b""


async def test_the_response_to_an_incomplete_request_closes_the_connection(connections: Connections) -> None:
    async with serving_app(uvicorn_config(app(), connections)) as address, raw_socket(address) as peer:
        await peer.send(POST % b"/nowhere" + b"1\r\na\r\n")
        answer = await peer.read(within_secs=5)
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"connection: close" in answer.lower()
    assert not connections.cut_off


async def test_a_length_and_chunks_in_one_request_close_the_connection(connections: Connections) -> None:
    """RFC 9112, section 6.3: the rest may be another request than a proxy has parsed."""
    both = (
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    async with serving_app(uvicorn_config(app(), connections)) as address, raw_socket(address) as peer:
        await peer.send(both + b"0\r\n\r\n" + HEALTH)
        answer = await peer.read()
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in answer.lower()


@pytest.mark.parametrize("ending", [b"", b"\r\n"])
async def test_too_many_headers(connections: Connections, ending: bytes) -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"a:\r\n" * 3_000 + ending
    async with serving_app(uvicorn_config(app(), connections)) as address, raw_socket(address) as peer:
        await peer.send(head)
        assert (await peer.read()).startswith(b"HTTP/1.1 431 ")


async def test_pipelined_requests_are_answered_in_order(connections: Connections) -> None:
    async with serving_app(uvicorn_config(app(), connections)) as address, raw_socket(address) as peer:
        await peer.send(HEALTH * 50 + HEALTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert (await peer.read()).count(b"HTTP/1.1 503 ") == 51
    assert not connections.cut_off


async def test_idle_keep_alive_connections_stay_open(connections: Connections) -> None:
    """They were closed after 5 s; a balancer, which keeps them for 60, lost webhooks."""
    config = uvicorn_config(app(), connections)
    async with serving_app(config) as address, httpx.AsyncClient(base_url=f"http://{address}") as client:
        assert (await client.get("/healthz")).status_code == 503
        await asyncio.sleep(3 * IMPATIENT.head_secs)
        assert not connections.cut_off
        assert (await client.get("/healthz")).status_code == 503
    assert config.timeout_keep_alive > 60


async def test_a_malformed_chunk_causes_no_traceback(
    logged: Logged, caplog: pytest.LogCaptureFixture
) -> None:
    connections = Connections()
    async with serving_app(uvicorn_config(app(), connections)) as address:
        for path in (b"/nowhere", b"/healthz", b"/twiml"):
            for _ in range(3):
                async with raw_socket(address) as peer:
                    await peer.send(POST % path + b"zz\r\n")
                    await peer.read()
                async with raw_socket(address) as peer:
                    await peer.send(POST % path)
                    await asyncio.sleep(0.01)
                    with suppress(ConnectionError):
                        await peer.send(b"zz\r\n")
                        await peer.read()
    assert "Traceback" not in logged.text
    assert not [each for each in caplog.records if each.exc_info]
