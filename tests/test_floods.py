"""Floods of strangers do not affect running calls, nor the shutdown."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
import time
from asyncio.subprocess import DEVNULL

import pytest

from tests.support.floods import KINDS
from tests.support.paced_call import paced_call
from tests.support.program import ROOT, program

pytestmark = pytest.mark.timed
CONNECTIONS = 16
QUIET_SECS, CALL_SECS, FLOOD_SECS = 1.0, 3, 60
P95_MS = 400  # for slow machines; without the server's limits, floods held up answers for 9 s
TIMES_QUIET = 4  # or, on a busy machine, this multiple of the value without the flood
END_SECS = 15
LOG_BYTES = 20_000


@pytest.mark.parametrize("kind", KINDS)
async def test_a_flood_does_not_affect_a_call_or_the_shutdown(kind: str) -> None:
    options = ("--port", "0", "--drain-secs", "0", "--parrot-delay", "0")
    async with program(*options, environment={"MOSHI_ENGINE": "parrot"}) as run:
        said = await run.says("Answering calls at ws://")
        found = re.search(r"ws://([\w.]+:\d+)/", said)
        assert found
        ending = asyncio.create_task(run.ends())  # reads on: a full pipe would hold the program up
        calling = asyncio.create_task(paced_call(found[1], CALL_SECS))
        await asyncio.sleep(QUIET_SECS)
        flooding = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.support.floods", kind, found[1]),
            *("--connections", str(CONNECTIONS), "--secs", str(FLOOD_SECS)),
            cwd=ROOT,
            stdout=DEVNULL,
        )
        call = await calling
        assert flooding.returncode is None, "the flood was over before the call"
        began_s = time.monotonic()
        run.signal(signal.SIGTERM)  # in the midst of it
        assert await asyncio.wait_for(ending, 60) == 0
        ended_s = time.monotonic() - began_s
        flooding.kill()
        await flooding.wait()
    quiet_ms, beside_ms = call.p95_ms(to_s=QUIET_SECS), call.p95_ms(from_s=QUIET_SECS)
    sys.stdout.write(f"{kind} × {CONNECTIONS}: {quiet_ms:.0f} → {beside_ms:.0f} ms, end {ended_s:.1f} s\n")
    assert call.closed is None
    assert call.lost_frames == 0
    assert beside_ms <= max(P95_MS, TIMES_QUIET * quiet_ms)
    assert ended_s < END_SECS
    assert "Traceback" not in run.said
    assert len(run.said) < LOG_BYTES
