"""The program as a user runs it: a separate process, with its lines as they are printed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.fakes.twilio_api import ACCOUNT_SID, AUTH_TOKEN, NUMBER, FakeTwilioApi

ROOT = Path(__file__).parents[2]


class Program:
    """A running ``uv run bot.py …``.

    Attributes:
        said: all output so far, stdout and stderr together.
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self.said = ""

    @property
    def pid(self) -> int:
        """The process ID, for observation from outside."""
        return self._process.pid

    async def says(self, words: str) -> str:
        """Wait for a line with these words; return the line."""
        while True:
            line = await self._line()
            if words in line:
                return line
            assert line, f"it ended without saying {words!r}:\n{self.said}"

    async def ends(self) -> int:
        """Wait for its end; return its exit code."""
        while await self._line():
            pass
        return await self._process.wait()

    def deafen(self) -> None:
        """Stop reading its output: from now on it writes into a pipe that nothing reads."""
        assert self._process.stdout is not None
        self._process.stdout._transport.close()  # type: ignore[attr-defined]

    async def wait(self) -> int:
        """Wait for its end without reading its output; return its exit code."""
        return await self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    async def _line(self) -> str:
        assert self._process.stdout is not None
        line = (await self._process.stdout.readline()).decode()
        self.said += line
        return line


@asynccontextmanager
async def program(
    *arguments: str,
    environment: Mapping[str, str],
    python: Sequence[str] = (str(ROOT / "bot.py"),),
    folder: str = "/",  # the .env of the user who runs the tests is not found from there
    interpreter: str = sys.executable,
) -> AsyncIterator[Program]:
    """Run the program with this environment only; kill it at the end if it still runs.

    Args:
        arguments: the program's.
        environment: added to where programs and the home are, and to what a slow machine needs.
        python: what Python runs.
        folder: where.
        interpreter: of the environment that it runs in.
    """
    process = await asyncio.create_subprocess_exec(
        interpreter,
        *python,
        *arguments,
        cwd=folder,
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={
            **{name: os.environ[name] for name in ("PATH", "HOME", "XDG_STATE_HOME") if name in os.environ},
            "MOSHI_HANG_SECS": "60",  # a busy machine's engine takes its time
            **environment,
        },
    )
    try:
        yield Program(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def account(twilio: FakeTwilioApi, cloudflared: Path | None = None) -> dict[str, str]:
    """Return the environment of a user with an account, and cloudflared."""
    environment = {
        "TWILIO_ACCOUNT_SID": ACCOUNT_SID,
        "TWILIO_AUTH_TOKEN": AUTH_TOKEN,
        "TWILIO_NUMBER": NUMBER,
        "TWILIO_API_URL": twilio.url,
        "MOSHI_ENGINE": "parrot",
        "MOSHI_TUNNEL_WAIT_SECS": "0",
    }
    if cloudflared:
        environment["PATH"] = f"{cloudflared.parent}{os.pathsep}{os.environ['PATH']}"
    return environment
