"""A process that was frozen, like a paused virtual machine, continues its calls."""

from __future__ import annotations

import asyncio
import re
import signal
from pathlib import Path

import pytest

from tests.support.phone import Phone
from tests.support.program import program

HANG_SECS = 5
FREEZE_SECS = 12  # longer than that, than an answer may take (5 s), and than a ping (10 s)


@pytest.mark.slow
async def test_calls_continue_after_a_freeze(tiny_checkpoint: Path) -> None:
    """Moshi's calls used to end, because "a step took more than 3 s", and the model was tested."""
    environment = {
        "MOSHI_ENGINE": "moshi",
        "MOSHI_MODEL": str(tiny_checkpoint),
        "MOSHI_GREETING": "none",
        "MOSHI_HANG_SECS": str(HANG_SECS),
    }
    async with program("--port", "0", environment=environment) as run:
        found = re.search(r"ws://([\w.]+:\d+)/", await run.says("Answering calls at ws://"))
        assert found
        reading = asyncio.create_task(run.ends())
        async with Phone.calling(found[1]) as phone:
            for _ in range(5):
                await phone.say(times=4)
                await phone.listen(frames=1)
            await phone.say(times=4)  # is being answered
            await asyncio.sleep(0.03)
            run.signal(signal.SIGSTOP)
            await asyncio.sleep(FREEZE_SECS)
            run.signal(signal.SIGCONT)
            async with asyncio.timeout(60):
                await phone.listen(frames=1)
                for _ in range(5):
                    await phone.say(times=4)
                    await phone.listen(frames=1)
            await phone.send({"event": "stop"})
            assert await phone.closed() == (1000, "the caller hung up")
        reading.cancel()
    assert "Testing the model" not in run.said
