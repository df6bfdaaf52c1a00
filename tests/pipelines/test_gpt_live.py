"""pipecat's full-duplex service in place of Moshi: a whole call with a server that speaks its protocol."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed

from moshi_phone.audio import g711, pcm
from moshi_phone.engines.parrot import ParrotEngine
from moshi_phone.runtime.plugin import PluginUnfit
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.options import ServerOptions
from moshi_phone.server.settings import Settings
from pipelines.gpt_live import GREETING, INSTRUCTIONS, make_service
from tests.fakes.openai_live import KEY, FakeOpenAILive, openai_live
from tests.support.phone import Phone, serving

PIPELINE = "pipelines.gpt_live:gpt_live"
TONE = (0.3 * np.sin(np.arange(160) * 0.35)).astype(np.float32)


@asynccontextmanager
async def calling(
    fake: FakeOpenAILive, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Phone, ServerState]]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_LIVE_URL", fake.url)
    state = ServerState(ParrotEngine(), Settings(server=ServerOptions(pipeline=PIPELINE)))
    async with serving(state) as address, Phone.calling(address) as phone:
        yield phone, state


async def speak(phone: Phone, packets: int) -> None:
    with contextlib.suppress(ConnectionClosed):  # the test reads the close code itself
        for _ in range(packets):
            await phone.say(g711.encode(pcm.to_bytes(TONE)))
            await asyncio.sleep(0.005)


async def test_a_whole_call(monkeypatch: pytest.MonkeyPatch) -> None:
    async with openai_live() as fake:
        async with calling(fake, monkeypatch) as (phone, state):
            await fake.asked.wait()
            await speak(phone, 100)
            heard = await phone.listen(20)
            (call,) = state.calls.running
            await phone.send({"event": "stop"})
            assert await phone.closed() == (1000, "the caller hung up")
        # It got its instructions, and the request to speak first.
        assert fake.keys == [f"Bearer {KEY}"]
        assert fake.session["model"].startswith("gpt-live")
        assert fake.session["instructions"] == INSTRUCTIONS
        assert fake.context == [GREETING]
        # It heard the caller at 24 kHz, and the caller heard it, once: nothing comes back by itself.
        assert len(fake.heard) >= 1.5 * 48_000
        assert len(heard) <= len(fake.heard) / 6
        level = np.sqrt(np.mean(np.square(pcm.to_float(g711.decode(heard[2000:10_000])))))
        assert level == pytest.approx(0.3 / np.sqrt(2), rel=0.2)
        assert "Hello there." in "".join(line.text for line in call.observations.transcript.lines)


async def test_a_session_that_is_refused_ends_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    async with openai_live(refuses="no such model") as fake, calling(fake, monkeypatch) as (phone, _):
        code, reason = await phone.closed()
        assert code == 1011
        assert "no such model" in reason


async def test_a_server_that_hangs_up_ends_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    async with openai_live(hangs_up_after=2) as fake, calling(fake, monkeypatch) as (phone, _):
        await fake.asked.wait()
        await speak(phone, 60)
        code, reason = await phone.closed()
        assert code == 1011
        assert "1011" in reason


async def test_an_unreachable_server_ends_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    async with openai_live() as fake:
        pass
    async with calling(fake, monkeypatch) as (phone, _):
        code, reason = await phone.closed()
        assert code == 1011
        assert "Error connecting" in reason


def test_a_missing_key_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(PluginUnfit, match="needs OPENAI_API_KEY"):
        make_service()
