"""A fresh clone of the repository, and commands typed in its folder."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import shutil
import signal
import subprocess
import sys
import termios
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.markdown_blocks import ROOT
from tests.support.program import Program

GIT = shutil.which("git") or "git"


class Typed(Program):
    """A running command that was typed into a terminal; its output goes into a pipe."""

    def __init__(self, process: Process, terminal: int) -> None:
        super().__init__(process)
        self._terminal = terminal

    async def ctrl_c(self) -> int:
        """Press Ctrl-C; return the exit code."""
        os.write(self._terminal, b"\x03")
        return await self.ends()


class Clone:
    """A copy of the files known to git, with uncommitted changes, and an empty home.

    Packages come from the environment of the tests: uv installs nothing.

    Args:
        folder: for both.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "moshi-phone"
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        listed = [GIT, "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout  # noqa: S603
        for name in names.decode().split("\0"):
            if name and (ROOT / name).is_file():
                (self.path / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.path / name)

    def environment(self, programs: Sequence[Path] = ()) -> dict[str, str]:
        """Return a shell's environment: the path of programs, and stand-ins for an installation."""
        return {
            "PATH": os.pathsep.join([*map(str, programs), os.environ["PATH"]]),
            "HOME": str(self.home),
            "UV_PROJECT_ENVIRONMENT": sys.prefix,
            "UV_NO_SYNC": "1",
            "UV_OFFLINE": "1",
            "HF_ENDPOINT": "http://127.0.0.1:9",  # no server listens there
            "MOSHI_PORT": "0",
        }

    @asynccontextmanager
    async def types(
        self, command: str, environment: Mapping[str, str] | None = None, programs: Sequence[Path] = ()
    ) -> AsyncIterator[Typed]:
        """Type a command into a shell there; kill what still runs of it at the end.

        Args:
            command: as printed.
            environment: replaces what a test cannot have.
            programs: folders of programs, before all others.
        """
        terminal, keyboard = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            "/bin/bash",
            "-c",
            command,
            cwd=self.path,
            env={**self.environment(programs), **(environment or {})},
            stdin=keyboard,
            stdout=PIPE,
            stderr=STDOUT,
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(keyboard)
        try:
            yield Typed(process, terminal)
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
            await process.communicate()
            os.close(terminal)


def _take_terminal() -> None:
    """Make standard input the terminal of a new session, so that Ctrl-C reaches all of its processes."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
