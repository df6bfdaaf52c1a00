"""``--review``: writes a test report of each recorded call after its end."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from loguru import logger

from moshi_phone.records.private_files import create
from moshi_phone.server.calls.calls import Calls

REVIEW_SECS = 300.0  # for a recording of hours on a slow machine
FINISH_SECS = 60.0  # at the end of the process
_MAX_WAITING = 100  # beyond that, recordings are skipped


class Reviews:
    """Evaluates recordings one at a time, in a low-priority process, while no call runs.

    Args:
        calls: evaluation waits until none runs.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._waiting: list[Path] = []  # unevaluated recordings, oldest first
        self._task: asyncio.Task[None] | None = None  # runs while there are recordings

    def add(self, recording: Path, facts: dict[str, Any]) -> None:
        """Queue a recording for evaluation. Returns at once.

        Args:
            recording: the WAV file; its report goes into a directory of the same name.
            facts: data of the call, as for ``--on-end``; stored next to the recording.
        """
        if len(self._waiting) >= _MAX_WAITING:
            logger.warning("Too many recordings wait for --review; this one is left out")
            return
        try:
            _, file = create(recording.with_suffix(".json"))
            with file:
                file.write(json.dumps(facts, ensure_ascii=False).encode(errors="replace"))
        except OSError as error:
            logger.error("Cannot write what --review needs beside {}: {}", recording.name, error)
        self._waiting.append(recording)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work(), name="reviews")

    async def finished(self) -> None:
        """Wait until the queue is empty, for at most ``FINISH_SECS``."""
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
            # If bot.py was started from another directory, the child would not find the package.
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
