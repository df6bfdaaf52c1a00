"""examples/foundational.py on pipecat's own FastAPI transport with its ``TwilioFrameSerializer``."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI, WebSocket
from pipecat.runner.types import WebSocketRunnerArguments
from pipecat.serializers.twilio import TwilioFrameSerializer

from examples import foundational
from moshi_phone.audio import g711
from moshi_phone.testing import FakeEngine
from tests.support.phone import Phone, serving_app

TONE = g711.encode((8_000 * np.sin(2 * np.pi * 500 / 8_000 * np.arange(160))).astype("<i2").tobytes())


async def test_a_call_with_pipecat_s_own_twilio_transport(monkeypatch: pytest.MonkeyPatch) -> None:
    hung_up: list[object] = []

    async def hang_up(serializer: object) -> None:
        hung_up.append(serializer)

    monkeypatch.setattr(TwilioFrameSerializer, "_hang_up_call", hang_up)  # Twilio is not reached here
    monkeypatch.setenv("TWILIO_ACCOUNT_SID", "AC1")
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", "secret")
    engine = FakeEngine()
    monkeypatch.setattr(foundational, "engine", engine)
    app = FastAPI()

    @app.websocket("/stream")
    async def stream(websocket: WebSocket) -> None:
        await websocket.accept()
        await foundational.bot(WebSocketRunnerArguments(websocket=websocket))

    async with serving_app(uvicorn.Config(app, log_level="warning")) as address:
        async with Phone.calling(address) as phone:
            await phone.say(TONE, times=50)
            heard = np.frombuffer(g711.decode(await phone.listen(frames=10)), "<i2")
            assert np.mean(np.abs(heard.astype(int)) > 2_000) > 0.5  # the mirror's tone, at once
            assert engine.running == 1
        async with asyncio.timeout(20):
            while engine.running:  # noqa: ASYNC110 - the call ends in the background
                await asyncio.sleep(0.01)
