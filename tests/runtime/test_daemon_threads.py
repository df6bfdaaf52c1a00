from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from moshi_phone.runtime.daemon_threads import in_daemon_thread

ROOT = Path(__file__).parents[2]


async def test_it_returns_the_work_s_result() -> None:
    name = await in_daemon_thread(lambda: threading.current_thread().name, "a worker")
    assert name == "a worker"


async def test_it_raises_the_work_s_exception() -> None:
    def work() -> None:
        raise ValueError("expected")

    with pytest.raises(ValueError, match="expected"):
        await in_daemon_thread(work, "a worker")


async def test_its_result_may_be_ignored() -> None:
    go_on = threading.Event()
    waiting = asyncio.ensure_future(in_daemon_thread(go_on.wait, "a worker"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    go_on.set()
    await in_daemon_thread(lambda: None, "another")  # the first result was ignored, and had no effect


def test_the_process_does_not_wait_for_it() -> None:
    program = """
import asyncio, time
from contextlib import suppress
from moshi_phone.runtime.daemon_threads import in_daemon_thread

async def main():
    with suppress(TimeoutError):
        async with asyncio.timeout(0.1):
            await in_daemon_thread(lambda: time.sleep(3600), "forever")

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=60, check=True)  # noqa: S603
    assert done.returncode == 0
