"""``bot()`` as pipecat's own runner calls it."""

from __future__ import annotations

import pytest
import uvicorn
from fastapi import FastAPI, WebSocket
from pipecat.runner.types import RunnerArguments, WebSocketRunnerArguments
from websockets.asyncio.client import connect

import bot
from engines import choose
from engines.parrot import ParrotEngine
from server.state import ServerState
from tests.phone import Phone, serving_app


def _runner() -> FastAPI:
    """What pipecat's runner does with a WebSocket, at its simplest."""
    app = FastAPI()

    @app.websocket("/stream")
    async def stream(websocket: WebSocket) -> None:
        await websocket.accept()
        await bot.bot(WebSocketRunnerArguments(websocket=websocket))

    return app


async def test_pipecats_runner_can_call_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "accelerator", lambda: None)
    monkeypatch.setattr(bot, "_state", None)
    async with serving_app(uvicorn.Config(_runner(), log_level="warning")) as address:
        for _ in range(2):
            async with Phone.calling(address) as phone:
                await phone.say(times=8)
                greeting = await phone.listen(frames=2)
                assert len(set(greeting)) > 50  # somebody speaks
                await phone.send({"event": "stop"})
                assert await phone.closed() == (1000, "the caller hung up")


async def test_what_is_no_call_is_closed_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = ParrotEngine()
    await engine.start(lambda _: None)
    monkeypatch.setattr(bot, "_state", ServerState(engine))
    config = uvicorn.Config(_runner(), log_level="warning")
    async with serving_app(config) as address, connect(f"ws://{address}/stream") as socket:
        phone = Phone(socket)
        await phone.say()
        assert await phone.closed() == (1002, "expected start first, got media")


async def test_another_transport_is_refused_in_words() -> None:
    with pytest.raises(TypeError, match="expected a WebSocket from the runner, got RunnerArguments"):
        await bot.bot(RunnerArguments())
