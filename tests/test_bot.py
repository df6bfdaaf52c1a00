"""``bot()`` as pipecat's own runner calls it."""

from __future__ import annotations

import signal
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, WebSocket
from pipecat.runner.types import WebSocketRunnerArguments
from websockets.asyncio.client import connect

import bot
from moshi_phone.engines.options import EngineOptions
from moshi_phone.records.call_row import Outcome
from moshi_phone.records.options import TapOptions
from moshi_phone.runtime.ports import free_port
from moshi_phone.server.runner import RunnerState
from moshi_phone.server.settings import Settings
from moshi_phone.telephony.options import ReachOptions, TwilioOptions
from tests.fakes.twilio_api import ACCOUNT_SID, AUTH_TOKEN, FakeTwilioApi
from tests.fakes.twilio_voice import CALLER, FakeTwilioVoice
from tests.support.phone import Phone, serving_app, start_message
from tests.support.program import ROOT, program
from tests.support.waiting import until

PUBLIC = "https://phone.example.com"
RECORDING = "RE" + "d" * 32
LOUD = bytes([0x10, 0x90] * 80)


def _runner() -> FastAPI:
    """A minimal copy of how pipecat's runner handles a WebSocket."""
    app = FastAPI()

    @app.websocket("/stream")
    async def stream(websocket: WebSocket) -> None:
        await websocket.accept()
        await bot.bot(WebSocketRunnerArguments(websocket=websocket))

    return app


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is loaded yet, and no variable of the tests' environment is used."""
    made = Settings(engine=EngineOptions(engine="parrot"))
    monkeypatch.setattr(bot, "runner_state", RunnerState(lambda: made))


@pytest.mark.usefixtures("settings")
async def test_two_calls_one_after_the_other() -> None:
    async with serving_app(uvicorn.Config(_runner(), log_level="warning")) as address:
        for _ in range(2):
            async with Phone.calling(address) as phone:
                await phone.say(times=8)
                greeting = await phone.listen(frames=2)
                assert len(set(greeting)) > 50  # speech is heard
                await phone.send({"event": "stop"})
                assert await phone.closed() == (1000, "the caller hung up")


@pytest.mark.usefixtures("settings")
async def test_a_socket_without_a_call_is_closed_with_a_reason() -> None:
    config = uvicorn.Config(_runner(), log_level="warning")
    async with serving_app(config) as address, connect(f"ws://{address}/stream") as socket:
        phone = Phone(socket)
        await phone.say()
        assert await phone.closed() == (1002, "expected start first, got media")


async def test_a_caller_without_a_session_leaves_a_message(
    twilio: FakeTwilioApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runner answers the webhook, so a refused stream is redirected; Twilio then requests our route."""
    made = Settings(
        engine=EngineOptions(engine="tests.fakes.small_parrot:SmallParrot"),  # two calls
        twilio=TwilioOptions(ACCOUNT_SID, AUTH_TOKEN, twilio.url),
        reach=ReachOptions(public_url=PUBLIC),
        taps=TapOptions(fallback_record=tmp_path),
    )
    monkeypatch.setattr(bot, "runner_state", RunnerState(lambda: made))
    sid = "CA" + "3" * 32
    twilio.put_in_progress(sid)
    twilio.recordings[RECORDING] = b"RIFF" + bytes(2_000)
    config = uvicorn.Config(_runner(), log_level="warning")
    async with serving_app(config) as address, AsyncExitStack() as calls:
        for number in (1, 2):
            start = start_message(f"MZ{number}", call_sid=f"CA{number}" * 8)
            phone = await calls.enter_async_context(Phone.calling(address, start))
            await phone.say(times=8)
            await phone.listen(frames=1)
        async with Phone.calling(address, start_message("MZ3", call_sid=sid)) as phone:
            await phone.closed()
        ((document,),) = [update["Twiml"] for update in twilio.made("POST", f"Calls/{sid}.json")]
        assert f'<Record action="{PUBLIC}/recorded"' in document
        form = {"AccountSid": ACCOUNT_SID, "CallSid": sid, "From": CALLER, "RecordingSid": RECORDING}
        status, answer = await FakeTwilioVoice(PUBLIC, address).post(f"{PUBLIC}/recorded", form)
        assert (status, "<Hangup" in answer) == (200, True)
        await until(lambda: not twilio.recordings)
        rows = (await bot.runner_state.get()).history.rows
        assert [row.outcome for row in rows if row.call_sid == sid] == [Outcome.MESSAGE]
    assert len(list(tmp_path.glob("*.wav"))) == 1  # noqa: ASYNC240


@pytest.mark.slow
@pytest.mark.parametrize(
    ("python", "how"),
    [
        (["-m", "pipecat.runner.run"], signal.SIGTERM),
        ([str(ROOT / "bot.py"), "runner"], signal.SIGINT),
    ],
)
async def test_pipecats_own_runner_runs_it(python: list[str], how: signal.Signals) -> None:
    """The README's command, and pipecat's; the same variables select the engine as on the command line."""
    port = free_port()
    arguments = ["-t", "twilio", "-x", "phone.example.com", "--port", str(port)]
    environment = {"MOSHI_ENGINE": "tests.support.slow_engine:SlowEngine"}
    async with program(*arguments, environment=environment, python=python, folder=str(ROOT)) as runner:
        if "runner" in python:
            await runner.says("The slow engine loads.")  # before the first call
        await runner.says("Uvicorn running")
        address = f"localhost:{port}"
        async with httpx.AsyncClient() as client:
            assert 'url="wss://phone.example.com/ws"' in (await client.post(f"http://{address}/")).text
        first, second = start_message("MZ1", call_sid="CA1"), start_message("MZ2", call_sid="CA2")
        async with Phone.calling(address, first, "/ws") as one, Phone.calling(address, second, "/ws") as two:
            for phone in (one, two):
                await phone.say(LOUD, times=8)
            for phone in (one, two):
                assert len(set(await phone.listen(frames=1))) > 1
        runner.signal(how)
        await runner.ends()
    assert runner.said.count("The slow engine loads.") == 1
    assert runner.said.count("The slow engine was stopped.") == 1
    assert "Traceback" not in runner.said
