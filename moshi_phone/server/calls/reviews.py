"""``--review``: the test report of each recorded call, written when it has ended."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from loguru import logger

from moshi_phone.records.private_files import create
from moshi_phone.server.calls.call import Calls

REVIEW_SECS = 300.0  # what a call of hours takes on a slow machine
FINISH_SECS = 60.0
_MOST_WAITING = 100


class Reviews:
    """Judges recordings one at a time, in a process of low priority, while no call runs.

    Args:
        calls: are not disturbed.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._waiting: list[Path] = []  # recordings not judged yet, the oldest first
        self._task: asyncio.Task[None] | None = None  # judges them while no call runs

    def add(self, recording: Path, told: dict[str, Any]) -> None:
        """Judge a recording when there is time. Returns at once.

        Args:
            recording: the file; its report goes into a folder of the same name beside it.
            told: what is known of the call, as ``--on-end`` has it; it is kept beside the recording.
        """
        if len(self._waiting) >= _MOST_WAITING:
            logger.warning("Too many recordings wait for --review; this one is left out")
            return
        try:
            _, file = create(recording.with_suffix(".json"))
            with file:
                file.write(json.dumps(told, ensure_ascii=False).encode(errors="replace"))
        except OSError as error:
            logger.error("Cannot write what --review needs beside {}: {}", recording.name, error)
        self._waiting.append(recording)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work(), name="reviews")

    async def finished(self) -> None:
        """Wait until what was added has been judged, but not for ever."""
        if self._task is not None:
            await asyncio.wait((self._task,), timeout=FINISH_SECS)

    async def _work(self) -> None:
        while self._waiting:
            await self._calls.wait_until_idle()
            recording = self._waiting.pop(0)
            report = recording.with_suffix("")
            try:
                await self._judge(recording, report)
            except (OSError, TimeoutError) as error:
                logger.error("{} could not be judged: {}", recording.name, error or "it took too long")

    async def _judge(self, recording: Path, report: Path) -> None:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "moshi_phone.conversation.write_report",
            str(recording),
            str(report),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            # Where bot.py was started from elsewhere, the child would not find the package.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        try:
            async with asyncio.timeout(REVIEW_SECS):
                _, said = await child.communicate()
        except TimeoutError:
            child.kill()
            await child.wait()
            raise
        if child.returncode:
            words = said.decode(errors="replace").strip().splitlines()
            logger.error("{} could not be judged: {}", recording.name, words[-1] if words else "no reason")
        else:
            logger.info("Test report of the call: {}", report / "report.md")
