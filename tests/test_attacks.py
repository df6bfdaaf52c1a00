"""The program under attack: what an attacker can do with one machine and no credentials.

After each attack the next call works, and SIGTERM ends the process within ``--drain-secs`` and 5 s.
"""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import psutil
import pytest

from moshi_phone.access.tokens import PARAMETER, StreamTokens
from tests.fakes.twilio_api import ACCOUNT_SID, AUTH_TOKEN
from tests.support.phone import Phone, start_message
from tests.support.program import Program, program
from tests.support.raw_socket import CONTINUATION, PING, TEXT, RawSocket, frame, raw_socket, text

pytestmark = pytest.mark.slow  # each starts the program
DRAIN_SECS, AND_SECS = 1, 5
MB = 1_000_000
FILES = 256  # a process's default on macOS
MEDIA = text({"event": "media", "media": {"payload": "AAAA" * 160}}) * 10
PINGS = frame(PING, b"x" * 125) * 500


@asynccontextmanager
async def answering(**environment: str) -> AsyncIterator[tuple[Program, str, asyncio.Task[int]]]:
    """Run the program; yield it and its ``HOST:PORT``; end it afterwards."""
    options = ("--port", "0", "--drain-secs", str(DRAIN_SECS), "--parrot-delay", "0")
    async with program(*options, environment={"MOSHI_ENGINE": "parrot", **environment}) as run:
        said = await run.says("Answering calls at ws://")
        address = re.search(r"ws://([\w.]+:\d+)/", said)
        assert address
        ending = asyncio.create_task(run.ends())  # reads on: a full pipe would hold the program up
        try:
            yield run, address[1], ending
        finally:
            ending.cancel()


async def next_call_works(address: str) -> None:
    async with asyncio.timeout(20), Phone.calling(address) as phone:
        await phone.say(times=8)
        await phone.listen(frames=1)
        await phone.send({"event": "stop"})
        assert await phone.closed() == (1000, "the caller hung up")


async def ends_in_time(run: Program, ending: asyncio.Task[int]) -> None:
    began_s = time.monotonic()
    run.signal(signal.SIGTERM)
    assert await asyncio.wait_for(ending, 60) == 0
    assert time.monotonic() - began_s < DRAIN_SECS + AND_SECS


async def deaf(peers: AsyncExitStack, address: str, call_sid: str = "CA1", token: str = "") -> RawSocket:
    """Start a call, and never read; its media is sent as fast as the server accepts it."""
    peer = await peers.enter_async_context(raw_socket(address))
    await peer.upgrade()
    parameters = {PARAMETER: token} if token else {}
    await peer.send(text(start_message(parameters=parameters, call_sid=call_sid)))
    return peer


async def talk(peer: RawSocket, data: bytes, *, patience_secs: float) -> None:
    """Send something as fast as the server accepts it, until it stops reading, or cuts the socket off."""
    with suppress(ConnectionError):
        while True:
            await peer.send(data, within_secs=patience_secs)
            await asyncio.sleep(0.001)


async def pings_without_reading(peers: AsyncExitStack, address: str) -> None:
    for _ in range(4):
        peer = await peers.enter_async_context(raw_socket(address))
        await peer.upgrade()
        with suppress(TimeoutError):
            async with asyncio.timeout(3):
                await talk(peer, PINGS, patience_secs=1)


async def a_silent_crowd(peers: AsyncExitStack, address: str) -> None:
    for n in range(400):
        peer = await peers.enter_async_context(raw_socket(address))
        with suppress(ConnectionError):
            await peer.send((b"", b"GET / HT", b"POST /twiml HTTP/1.1\r\nContent-Length: 9\r\n\r\n")[n % 3])


async def sockets_that_say_nothing(peers: AsyncExitStack, address: str) -> None:
    for _ in range(400):
        await (await peers.enter_async_context(raw_socket(address))).upgrade()


async def a_call_that_is_not_heard(peers: AsyncExitStack, address: str) -> None:
    async with asyncio.timeout(30):
        await talk(await deaf(peers, address), MEDIA, patience_secs=60)


async def crumbs_and_floods(peers: AsyncExitStack, address: str) -> None:
    crumbs = frame(TEXT, last=False) + frame(CONTINUATION, last=False) * 200_000
    for data in (frame(TEXT, b"{}") * 200_000, crumbs, frame(TEXT, b"x" * 60_000) * 50, b"\xff" * MB):
        peer = await peers.enter_async_context(raw_socket(address))
        await peer.upgrade()
        with suppress(ConnectionError, TimeoutError):
            await peer.send(data, within_secs=20)


async def calls_that_break_off(peers: AsyncExitStack, address: str) -> None:
    for _ in range(30):
        async with Phone.calling(address) as phone:
            await phone.say(times=4)
            phone.socket.transport.abort()


ATTACKS: list[Callable[[AsyncExitStack, str], Awaitable[None]]] = [
    pings_without_reading,
    a_silent_crowd,
    sockets_that_say_nothing,
    a_call_that_is_not_heard,
    crumbs_and_floods,
    calls_that_break_off,
]


@pytest.mark.parametrize("attack", ATTACKS)
async def test_after_an_attack_the_next_call_works(
    attack: Callable[[AsyncExitStack, str], Awaitable[None]],
) -> None:
    async with answering() as (run, address, ending), AsyncExitStack() as peers:
        await next_call_works(address)
        process = psutil.Process(run.pid)
        if psutil.LINUX:
            process.rlimit(psutil.RLIMIT_NOFILE, (FILES, FILES))
        before_bytes = process.memory_info().rss
        await attack(peers, address)
        grown_bytes = process.memory_info().rss - before_bytes
        await next_call_works(address)
        await ends_in_time(run, ending)  # with the attackers still connected
    assert grown_bytes < 60 * MB
    assert "Traceback" not in run.said


@pytest.mark.parametrize("said", ["media", "pings"])
async def test_peers_that_read_nothing_do_not_delay_the_end(said: str) -> None:
    """SIGTERM with ``--drain-secs 5`` was still waiting after 40 s."""
    async with answering() as (run, address, ending), AsyncExitStack() as peers:
        peer = await deaf(peers, address)
        with suppress(TimeoutError):
            async with asyncio.timeout(4):  # everything is full then
                await talk(peer, MEDIA if said == "media" else PINGS, patience_secs=60)
        await ends_in_time(run, ending)


@pytest.mark.parametrize("began", ["before", "then"])
async def test_a_hanging_api_does_not_delay_the_end(began: str) -> None:
    """A hang-up without a response, started before the signal or because of it."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environment = {
            "TWILIO_ACCOUNT_SID": ACCOUNT_SID,
            "TWILIO_AUTH_TOKEN": AUTH_TOKEN,
            "TWILIO_API_URL": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "MOSHI_HANGUP_KEY": "#",
        }
        call_sid = "CA" + "1" * 32
        async with answering(**environment) as (run, address, ending):
            token = StreamTokens.from_auth_token(AUTH_TOKEN).mint(call_sid, time.time())
            start = start_message(parameters={PARAMETER: token}, call_sid=call_sid)
            async with Phone.calling(address, start) as phone:
                await phone.say(times=8)
                await phone.listen(frames=1)
                if began == "before":
                    await phone.send({"event": "dtmf", "dtmf": {"digit": "#"}})
                    assert await phone.closed() == (1000, "the caller pressed #")
                await ends_in_time(run, ending)
                if began == "then":
                    assert await phone.closed() == (1000, "the line is shutting down")
    assert "Traceback" not in run.said
