"""SIGTERM ends the process, whatever hangs in it."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from pathlib import Path

import pytest

from tests.support.phone import Phone
from tests.support.program import ROOT, program

pytestmark = pytest.mark.slow  # each starts the program, which waits for what hangs
END_SECS = 20  # engine, outbox, uvicorn and the last resort one after the other, on a machine that is busy
ENGINE = "tests.support.hanging_engine:HangingEngine"


@pytest.mark.parametrize("what", ["nothing", "executor", "thread", "task", "disk", "stop", "session"])
async def test_sigterm_ends_the_process(what: str, tmp_path: Path) -> None:
    environment = {
        "HANGS": what,
        "MOSHI_ENGINE": ENGINE,
        "PYTHONPATH": str(ROOT),
        "MOSHI_ON_END": "http://127.0.0.1:9/",
        "MOSHI_ON_END_FOLDER": str(tmp_path),
    }
    async with program("--port", "0", "--drain-secs", "0", environment=environment) as run:
        found = re.search(r"ws://([\w.]+:\d+)/", await run.says("Answering calls at ws://"))
        assert found
        ending = asyncio.create_task(run.ends())
        async with Phone.calling(found[1]) as phone:
            await phone.say(times=8)
            await phone.listen(frames=1)
            began_s = time.monotonic()
            run.signal(signal.SIGTERM)
            assert await asyncio.wait_for(ending, 60) == 0
    assert time.monotonic() - began_s < END_SECS


async def test_sigterm_ends_a_start_that_hangs() -> None:
    environment = {"HANGS": "start", "MOSHI_ENGINE": ENGINE, "PYTHONPATH": str(ROOT)}
    async with program("--port", "0", environment=environment) as run:
        await run.says("The tone sounds.")
        run.signal(signal.SIGTERM)
        assert await asyncio.wait_for(run.ends(), 60) == 0


async def test_two_signals_end_a_process_with_a_hanging_loop() -> None:
    """The loop cannot handle a signal then; the signal handler does."""
    environment = {"HANGS": "loop", "MOSHI_ENGINE": ENGINE, "PYTHONPATH": str(ROOT)}
    async with program("--port", "0", environment=environment) as run:
        found = re.search(r"ws://([\w.]+:\d+)/", await run.says("Answering calls at ws://"))
        assert found
        async with Phone.calling(found[1]) as phone:
            await phone.say(times=8)
            for _ in range(2):
                await asyncio.sleep(0.6)
                run.signal(signal.SIGTERM)
            assert await asyncio.wait_for(run.ends(), 60) == 1
