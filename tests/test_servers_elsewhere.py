"""The program with remote servers: leases, a server that dies and returns, one that hangs."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner
from websockets.exceptions import ConnectionClosed

from moshi_phone.commands.main import cli
from tests.fakes.moshi_behaviour import Behaviour
from tests.fakes.moshi_server import FakeMoshiServer, moshi_server
from tests.fakes.twilio_api import FakeTwilioApi
from tests.fakes.twilio_voice import FakeTwilioVoice, Rejected
from tests.support.logs import log_put_back
from tests.support.phone import Phone
from tests.support.program import Program, account, program

URL = "https://phone.example.com"
PASSWORD = "watches all"
WATCHES = "Basic " + base64.b64encode(f"anybody:{PASSWORD}".encode()).decode()
LOUD = bytes([0x10, 0x90] * 80)
CALLS = [f"CA{number}" + "0" * 31 for number in range(9)]


@asynccontextmanager
async def answering(
    twilio: FakeTwilioApi, *servers: FakeMoshiServer, options: tuple[str, ...] = ()
) -> AsyncIterator[tuple[Program, FakeTwilioVoice, str]]:
    """Run the program until it is ready; yield a caller, and its address."""
    environment = account(twilio) | {
        "MOSHI_ENGINE": "remote",
        "MOSHI_SERVER": " ".join(server.url for server in servers),
        "MOSHI_SERVER_TOKEN": "s3cret-token",
        "MOSHI_GREETING": "none",
        "MOSHI_WEB": "1",
        "MOSHI_WEB_PASSWORD": PASSWORD,
        "TWILIO_NUMBER": "",
    }
    async with program("--port", "0", "--public-url", URL, *options, environment=environment) as line:
        found = re.search(r"ws://(127\.0\.0\.1:[0-9]+)/", await line.says("Answering calls at ws://"))
        assert found is not None
        await line.says(f"Reached at {URL}")
        yield line, FakeTwilioVoice(URL, found[1]), found[1]


@asynccontextmanager
async def calling(voice: FakeTwilioVoice, call_sid: str) -> AsyncIterator[Phone]:
    """A call, starting with the webhook."""
    twiml = await voice.call_in(f"{URL}/twiml", call_sid)
    async with voice.obey(twiml, call_sid) as (phone, _):
        yield phone


@asynccontextmanager
async def speaking(phone: Phone) -> AsyncIterator[None]:
    """Speak in real time while the block runs."""

    async def speak() -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await phone.say(LOUD, times=4)
                await asyncio.sleep(0.08)

    task = asyncio.create_task(speak())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def talk(phone: Phone, frames: int = 3) -> None:
    """Speak until more frames have been heard."""
    async with speaking(phone):
        await phone.listen(frames)


async def health(address: str) -> dict[str, Any]:
    async with aiohttp.ClientSession() as http, http.get(f"http://{address}/healthz") as answer:
        report: dict[str, Any] = await answer.json()
        return report


@pytest.mark.slow
async def test_two_servers_and_three_callers(twilio: FakeTwilioApi) -> None:
    async with moshi_server() as one, moshi_server() as two, answering(twilio, one, two) as (line, voice, at):
        names = [server.url.removeprefix("ws://") for server in (one, two)]
        async with calling(voice, CALLS[1]) as first, calling(voice, CALLS[2]) as second:
            await talk(first)
            await talk(second)
            assert (one.talking, two.talking) == (1, 1)

            with pytest.raises(Rejected, match="busy"):
                async with calling(voice, CALLS[3]):
                    pass
            assert [server["calls"] for server in (await health(at))["servers"]] == [1, 1]

            # One dies: its call ends with one sentence, the other does not notice.
            await one.kill()
            code, reason = await first.closed()
            assert code == 1011
            assert reason.startswith(f"Server {names[0]} closed the connection after")
            await talk(second)
            report = await health(at)
            assert report["ready"]
            # In public they are counted, not named.
            assert [(server["name"], server["up"]) for server in report["servers"]] == [
                ("server 1", False),
                ("server 2", True),
            ]
            assert (report["capacity"], report["sessions"], report["lost"]) == (1, 1, 1)
            with pytest.raises(Rejected, match="busy"):
                async with calling(voice, CALLS[4]):
                    pass

            # It comes back, and a new call gets it.
            await one.start()
            await line.says(f"Server {names[0]} answers again")
            async with calling(voice, CALLS[5]) as third:
                await talk(third)
                assert (one.talking, two.talking) == (1, 1)
                await talk(second)
        for server in (one, two):
            assert all(visit.headers["Authorization"] == "Bearer s3cret-token" for visit in server.visits)
        assert two.visits[0].unknown_kinds == []
        assert len(two.visits) == 1
        assert "s3cret-token" not in line.said
        assert "Traceback" not in line.said


@pytest.mark.slow
async def test_a_server_that_stops_answering_ends_the_call_with_its_name(twilio: FakeTwilioApi) -> None:
    async with (
        moshi_server(Behaviour(silent_at=10)) as server,
        answering(twilio, server, options=("--hang-secs", "1")) as (line, voice, _),
    ):
        name = server.url.removeprefix("ws://")
        async with calling(voice, CALLS[1]) as phone, speaking(phone):
            assert (await phone.closed())[1] == f"Server {name} gave no answer for 1 s"
        await line.says(f"Server {name} gave no answer for 1 s; out of service until it answers again")
        server.behaviour.silent_at = 0
        await line.says(f"Server {name} answers again")
        async with calling(voice, CALLS[2]) as phone:
            await talk(phone)


@pytest.mark.slow
async def test_a_server_without_a_handshake_ends_the_call(twilio: FakeTwilioApi) -> None:
    async with (
        moshi_server(Behaviour(handshakes=False)) as server,
        answering(twilio, server, options=("--server-wait-secs", "1")) as (_, voice, _),
    ):
        async with calling(voice, CALLS[1]) as phone:
            code, reason = await phone.closed()
        assert code == 1011
        name = server.url.removeprefix("ws://")
        assert reason.startswith(f"Server {name} sent no handshake in time (--server-wait-secs): it is still")


@pytest.mark.slow
async def test_metrics_show_each_server(twilio: FakeTwilioApi) -> None:
    async with moshi_server() as one, moshi_server() as two, answering(twilio, one, two) as (_, voice, at):
        async with calling(voice, CALLS[1]) as phone:
            await talk(phone)
            async with (
                aiohttp.ClientSession() as http,
                http.get(f"http://{at}/metrics", headers={"Authorization": WATCHES}) as answer,
            ):
                text = await answer.text()
        names = [server.url.removeprefix("ws://") for server in (one, two)]
        assert f'moshi_server_up{{server="{names[0]}"}} 1.0' in text
        assert f'moshi_server_calls{{server="{names[0]}"}} 1.0' in text
        assert f'moshi_server_calls{{server="{names[1]}"}} 0.0' in text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--engine", "remote"], "Error: --engine remote needs a server: --server ws://gpu-1:8998"),
        (["--server", "gpu-1"], "--server: expected a URL like ws://gpu-1:8998, got 'gpu-1'"),
        (["--server", "ws://127.0.0.1:1"], "Server 127.0.0.1:1 cannot be reached ("),
        (["--server", "ws://a:1", "--server", "ws://a:1#rust"], "--server names a:1 twice"),
        (["--server", "wss://a:1", "--server-ca", "/no/such/file"], "--server-ca /no/such/file: cannot read"),
        (["--server", "ws://a:1#personaplex", "--voice", "../x"], "has no voice '../x'"),
        (["--server", "ws://a:1", "--listen"], "Servers cannot listen for words"),
    ],
)
def test_each_invalid_option_is_reported_in_one_sentence(options: list[str], said: str) -> None:
    with log_put_back():
        result = CliRunner(env=dict.fromkeys(os.environ)).invoke(
            cli, ["--port", "0", *options], obj=lambda: None
        )
    assert result.exit_code == 2
    last = result.output.splitlines()[-1]
    assert last.startswith("Error: ")
    assert said in last
    assert "Traceback" not in result.output
