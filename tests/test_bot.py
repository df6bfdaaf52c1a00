"""``bot()`` as pipecat's own runner calls it."""

from __future__ import annotations

import signal

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, WebSocket
from pipecat.runner.types import WebSocketRunnerArguments
from websockets.asyncio.client import connect

import bot
from moshi_phone.engines.options import EngineOptions
from moshi_phone.runtime.ports import free_port
from moshi_phone.server.runner import RunnerState
from moshi_phone.server.settings import Settings
from tests.support.phone import Phone, serving_app, start_message
from tests.support.program import ROOT, program

LOUD = bytes([0x10, 0x90] * 80)


def _runner() -> FastAPI:
    """What pipecat's runner does with a WebSocket, at its simplest."""
    app = FastAPI()

    @app.websocket("/stream")
    async def stream(websocket: WebSocket) -> None:
        await websocket.accept()
        await bot.bot(WebSocketRunnerArguments(websocket=websocket))

    return app


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is loaded yet, and nothing comes from the environment of whoever runs the tests."""
    made = Settings(engine=EngineOptions(engine="parrot"))
    monkeypatch.setattr(bot, "runner_state", RunnerState(lambda: made))


@pytest.mark.usefixtures("settings")
async def test_two_calls_one_after_the_other() -> None:
    async with serving_app(uvicorn.Config(_runner(), log_level="warning")) as address:
        for _ in range(2):
            async with Phone.calling(address) as phone:
                await phone.say(times=8)
                greeting = await phone.listen(frames=2)
                assert len(set(greeting)) > 50  # somebody speaks
                await phone.send({"event": "stop"})
                assert await phone.closed() == (1000, "the caller hung up")


@pytest.mark.usefixtures("settings")
async def test_what_is_no_call_is_closed_with_a_reason() -> None:
    config = uvicorn.Config(_runner(), log_level="warning")
    async with serving_app(config) as address, connect(f"ws://{address}/stream") as socket:
        phone = Phone(socket)
        await phone.say()
        assert await phone.closed() == (1002, "expected start first, got media")


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("python", [["-m", "pipecat.runner.run"], [str(ROOT / "bot.py"), "runner"]])
async def test_pipecats_own_runner_runs_it(python: list[str], how: signal.Signals) -> None:
    """The README's command, and pipecat's; the engine is set by the same variables as the command line's."""
    port = free_port()
    arguments = ["-t", "twilio", "-x", "phone.example.com", "--port", str(port)]
    environment = {"MOSHI_ENGINE": "tests.support.slow_engine:SlowEngine"}
    async with program(*arguments, environment=environment, python=python, folder=str(ROOT)) as runner:
        if "runner" in python:
            await runner.says("The slow engine loads.")  # before anybody calls
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
