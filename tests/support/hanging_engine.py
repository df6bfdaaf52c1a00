"""An engine and a disk that hang: ``--engine tests.support.hanging_engine:HangingEngine``.

What hangs is named by the variable HANGS.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time

from examples.tone_engine import ToneEngine, ToneSession
from moshi_phone.audio.formats import Pcm
from moshi_phone.engines import duplex

_tasks: list[asyncio.Task[None]] = []


class HangingSession(ToneSession):
    """Hangs as configured."""

    def feed(self, pcm: Pcm) -> None:
        """Answer, or never return."""
        while _hangs("loop"):
            time.sleep(1)
        super().feed(pcm)

    async def close(self) -> None:
        """End the call, or never return."""
        if _hangs("session"):
            await _deaf()
        await super().close()


class HangingEngine(ToneEngine):
    """Hangs as configured."""

    async def start(self, progress: duplex.Progress) -> None:
        """Start something that never ends."""
        await super().start(progress)
        if _hangs("executor"):
            asyncio.get_running_loop().run_in_executor(None, threading.Event().wait)
        if _hangs("thread"):
            threading.Thread(target=threading.Event().wait).start()
        if _hangs("task"):
            _tasks.append(asyncio.create_task(_deaf()))
        if _hangs("disk"):
            os.fsync = _never  # type: ignore[assignment] # as on a disk that has died
        if _hangs("start"):
            await _deaf()

    def open_session(self, request: duplex.CallOverrides = duplex.NO_OVERRIDES) -> ToneSession:
        """Open a session."""
        super().open_session(request)
        return HangingSession(self)

    async def stop(self) -> None:
        """Stop, or never return."""
        if _hangs("stop"):
            await _deaf()


def _hangs(what: str) -> bool:
    return os.environ.get("HANGS") == what


def _never(_: object) -> None:
    threading.Event().wait()


async def _deaf() -> None:
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue
