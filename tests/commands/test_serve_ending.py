"""How the program ends, seen from outside: signals, exit code, and what remains."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from moshi_phone.runtime.stop_signals import REPEAT_SECS
from tests.fakes.cloudflared import FakeCloudflared
from tests.fakes.twilio_api import FakeTwilioApi
from tests.support.clone import Clone
from tests.support.phone import Phone
from tests.support.program import ROOT, account, program

BEFORE = "https://old.example.com/voice"


@asynccontextmanager
async def tunnel(folder: Path) -> AsyncIterator[FakeCloudflared]:
    async with FakeCloudflared(folder, ready_at_once=True) as fake:
        yield fake


@pytest.mark.slow
async def test_sigkill_ends_the_tunnel_and_the_next_run_restores_the_number(
    twilio: FakeTwilioApi, tmp_path: Path
) -> None:
    twilio.number["voice_url"] = BEFORE
    async with tunnel(tmp_path) as cloudflared:
        environment = account(twilio, cloudflared.path)
        async with program("--tunnel", "--port", "0", environment=environment) as run:
            child = await cloudflared.runs.get()
            await run.says("rings here now")
            run.signal(signal.SIGKILL)
            assert await run.ends() == -signal.SIGKILL
            assert await child.told() == {"sigterm": True}
        assert twilio.number["voice_url"] != BEFORE
        async with program("doctor", environment=environment) as run:
            line = await run.says("where an earlier run left it")
            assert f"before, it went to {BEFORE}" in line
        async with program("--tunnel", "--port", "0", environment=environment) as run:
            await cloudflared.runs.get()
            assert BEFORE in await run.says("rings here now; before, it went to")
            run.signal(signal.SIGTERM)
            assert await run.ends() == 0
    assert twilio.number["voice_url"] == BEFORE


@pytest.mark.slow
async def test_a_run_without_a_tunnel_restores_the_number_of_a_killed_run(
    twilio: FakeTwilioApi, tmp_path: Path
) -> None:
    twilio.number["voice_url"] = BEFORE
    environment = account(twilio)
    async with program("--public-url", "phone.example.com", "--port", "0", environment=environment) as run:
        await run.says("rings here now")
        run.signal(signal.SIGKILL)
        await run.ends()
    assert twilio.number["voice_url"] == "https://phone.example.com/twiml"
    async with program("--port", "0", environment=environment) as run:
        await run.says(f"goes to {BEFORE} again")
        run.signal(signal.SIGTERM)
        assert await run.ends() == 0
    assert twilio.number["voice_url"] == BEFORE


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
async def test_a_number_that_was_not_restored_is_exit_code_1(twilio: FakeTwilioApi, times: int) -> None:
    twilio.number["voice_url"] = BEFORE
    async with program(
        "--public-url", "phone.example.com", "--port", "0", environment=account(twilio)
    ) as run:
        await run.says("rings here now")
        twilio.fail(503, times=1000)
        for _ in range(times):
            run.signal(signal.SIGTERM)
        assert await run.ends() == 1
        assert "the next start restores it" in run.said


@pytest.mark.slow
async def test_a_signal_forwarded_by_uv_run_does_not_cut_a_call(clone: Clone) -> None:
    """Away from a terminal, ``uv run`` forwards the SIGINT that the whole group received, 0.2 s later."""
    async with clone.types("uv run bot.py --engine parrot </dev/null") as run:
        address = (await run.says("Answering calls at ws://")).partition("ws://")[2].partition("/")[0]
        async with Phone.calling(address) as phone:
            await phone.say(times=8)
            await phone.listen(2)
            os.killpg(run.pid, signal.SIGINT)
            await run.says("No new calls; 1 running may finish")
            await asyncio.sleep(2 * REPEAT_SECS)
            await phone.say(times=8)
            await phone.listen(2)
            await phone.send({"event": "stop"})
            assert await phone.closed() == (1000, "the caller hung up")
        assert await run.ends() == 0


async def test_sigterm_twice_in_a_second_restores_the_number(twilio: FakeTwilioApi) -> None:
    twilio.number["voice_url"] = BEFORE
    async with program(
        "--public-url", "phone.example.com", "--port", "0", environment=account(twilio)
    ) as run:
        await run.says("rings here now")
        run.signal(signal.SIGTERM)
        run.signal(signal.SIGTERM)
        assert await run.ends() == 0
    assert twilio.number["voice_url"] == BEFORE


async def test_closing_the_terminal_ends_it_cleanly(twilio: FakeTwilioApi, tmp_path: Path) -> None:
    """The programs in a closed terminal get SIGHUP, and can write nothing there any more."""
    twilio.number["voice_url"] = BEFORE
    async with tunnel(tmp_path) as cloudflared:
        terminal, ours = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", "import os, sys; os.login_tty(0); os.execv(sys.argv[1], sys.argv[1:])"),
            *(sys.executable, str(ROOT / "bot.py"), "--tunnel", "--port", "0"),
            cwd="/",
            stdin=ours,
            stdout=ours,
            stderr=ours,
            env={**os.environ, **account(twilio, cloudflared.path)},
        )
        os.close(ours)
        child = await cloudflared.runs.get()
        said = b""
        while b"rings here now" not in said:
            said += await asyncio.to_thread(os.read, terminal, 4096)
        os.close(terminal)
        assert await process.wait() == 0
        assert await child.told() == {"sigterm": True}
    assert twilio.number["voice_url"] == BEFORE
