"""A call with the tiny Moshi through the real server and a real socket; real time is not required."""

from __future__ import annotations

import asyncio
import json
import signal
import urllib.request
from pathlib import Path

import pytest

from moshi_phone.engines.moshi.engine import MoshiEngine
from moshi_phone.engines.options import EngineOptions
from moshi_phone.server.calls.state import ServerState
from tests.support.phone import Phone, serving, start_message
from tests.support.program import program
from tests.support.waiting import until

LOUD = bytes([0x10, 0x90] * 80)
PACKETS_PER_FRAME = 4
GREETING_FRAMES = 3


async def talk(phone: Phone, frames: int) -> bytes:
    """Say a frame and wait for the answer, several times; return all audio received."""
    for _ in range(frames):
        await phone.say(LOUD, times=PACKETS_PER_FRAME)
        await phone.listen(frames=1)
    return phone.heard


async def over(line: ServerState) -> None:
    """Wait until a call has ended completely: its socket closes a moment before its session is free."""
    async with asyncio.timeout(60):
        await line.calls.wait_until_idle()
    await until(lambda: line.engine.error is None, 60)


def health(address: str) -> dict[str, object]:
    with urllib.request.urlopen(f"http://{address}/healthz") as answer:
        return json.load(answer)  # type: ignore[no-any-return]


async def test_moshi_answers_the_phone(tiny_checkpoint: Path) -> None:
    options = EngineOptions(model=str(tiny_checkpoint), seed=1, greeting_frames=GREETING_FRAMES)
    engine = MoshiEngine(options, codec_limit_frames=500)
    line = ServerState(engine)
    async with serving(line) as address:
        heard = []
        for _ in range(2):  # the second caller hears the same: nothing is left of the first
            async with Phone.calling(address) as phone:
                await talk(phone, GREETING_FRAMES + 2)
                assert engine.running == 1
                await phone.send({"event": "stop"})
                assert await phone.closed() == (1000, "the caller hung up")
            await over(line)
            heard.append(phone.heard)
        assert len(heard[0]) == (GREETING_FRAMES + 2) * PACKETS_PER_FRAME * 160
        assert len(set(heard[0][:640])) > 50, "the greeting begins with the first frame"
        agreeing = sum(a == b for a, b in zip(*heard, strict=True)) / len(heard[0])
        assert agreeing > 0.99

        # A model that raises ends its call, and the next one is answered.
        async with Phone.calling(address) as phone:
            await talk(phone, 1)
            [session] = engine._sessions
            assert session._language is not None
            session._language._hear = lambda *_: 1 // 0  # type: ignore[method-assign, assignment]
            await phone.say(LOUD, times=PACKETS_PER_FRAME)
            code, reason = await phone.closed()
            assert code != 1000, reason
        await over(line)
        async with Phone.calling(address, start_message(call_sid="CA2")) as phone:
            await talk(phone, 1)
            report = await asyncio.to_thread(health, address)
            assert (report["ready"], report["sessions"]) == (True, 1)
        assert engine.lost_calls == 1
    assert engine.running == 0


@pytest.mark.slow
@pytest.mark.parametrize("words", ["Answering calls", "Moshi warms up."])
async def test_sigterm_ends_the_program_cleanly(tiny_checkpoint: Path, words: str) -> None:
    """mlx aborts a program that ends while one of its threads still works on the model."""
    long_take = 3 if words == "Answering calls" else 250
    environment = {"MOSHI_GREETING_FRAMES": str(long_take), "MOSHI_MODEL": str(tiny_checkpoint)}
    async with program("--engine", "moshi", "--port", "0", environment=environment) as run:
        await run.says(words)
        await asyncio.sleep(0.5)  # well into the first take
        run.signal(signal.SIGTERM)
        assert await run.ends() == 0, run.said
        assert "Traceback" not in run.said
