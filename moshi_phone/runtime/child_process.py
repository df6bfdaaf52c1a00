"""A child process that yields its output by line, and ends with this process, even if that is killed."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from asyncio.subprocess import PIPE, Process, SubprocessStreamProtocol
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from moshi_phone.runtime import supervised_child

GUARD_SECS = 2.0  # time for the guard's own exit after its program's
_LINES_KEPT = 40
_LINE_BYTES = 1 << 20  # a longer line would end the reading

OnLine = Callable[[str], None]


class ChildProcess:
    """One running program, from its start to its end. Its stdin is empty and its stdout is discarded.

    It runs in a separate session, so Ctrl-C and the end of the terminal reach only us, and under
    ``supervised_child``, so it ends with us, also after a crash or SIGKILL.

    Attributes:
        lines: the last lines of its stderr.
    """

    def __init__(
        self, guard: Process, transport: asyncio.SubprocessTransport, grace_secs: float, on_line: OnLine
    ) -> None:
        self.lines: deque[str] = deque(maxlen=_LINES_KEPT)
        self._guard = guard  # our direct child; the program is its child
        self._transport = transport  # closed explicitly: asyncio's own API hides it
        self._grace_secs = grace_secs
        self._on_line = on_line
        self._reading = asyncio.create_task(self._read())  # until the program closes its stderr

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        *,
        grace_secs: float,
        on_line: OnLine = lambda _: None,
        env: Mapping[str, str] | None = None,
    ) -> ChildProcess:
        """Start a program.

        Args:
            command: the program and its arguments.
            grace_secs: time to end after SIGTERM; then it is killed.
            on_line: called with each line of its stderr.
            env: its environment; by default ours.

        Raises:
            OSError: when it cannot be run.
        """
        loop = asyncio.get_running_loop()
        # Like create_subprocess_exec, but with access to the transport, which must be closed.
        transport, protocol = await loop.subprocess_exec(
            lambda: SubprocessStreamProtocol(_LINE_BYTES, loop),
            # Isolated (-I) and without site-packages (-S): it must start at once, whatever is installed.
            sys.executable,
            "-IS",
            str(Path(supervised_child.__file__)),
            f"{grace_secs:g}",
            *command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env=env,
            start_new_session=True,
        )
        guard = Process(transport, protocol, loop)
        child = cls(guard, transport, grace_secs, on_line)
        assert guard.stdout is not None  # noqa: S101 - it was asked for as a pipe
        try:
            word = (await guard.stdout.readline()).decode().strip()
        except BaseException:
            await child.stop()
            raise
        if word != supervised_child.STARTED:
            await child.wait()
            errno, _, reason = word.partition(" ")
            raise OSError(int(errno or 0), reason or "it could not be guarded")
        return child

    @property
    def returncode(self) -> int | None:
        """Its exit code, 128 and the signal that ended it, or None while it runs."""
        return self._guard.returncode

    async def wait(self) -> int:
        """Wait for its end and its last line; return its exit code."""
        code = await self._guard.wait()
        await asyncio.wait((self._reading,))
        self._transport.close()
        return code

    async def stop(self) -> None:
        """End it, by force if it does not end by itself. May be called twice."""
        if self._guard.stdin is not None:
            self._guard.stdin.close()  # signals the guard
        try:
            await asyncio.wait_for(self._guard.wait(), self._grace_secs + GUARD_SECS)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._guard.kill()
            await self._guard.wait()
        # A child of the program may hold its stderr open; do not wait for it.
        self._reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reading
        self._transport.close()

    async def _read(self) -> None:
        """Read its lines to the end: a full pipe would block it."""
        assert self._guard.stderr is not None  # noqa: S101 - it was asked for as a pipe
        async for raw in self._guard.stderr:
            if line := raw.decode(errors="replace").rstrip():
                self.lines.append(line)
                self._on_line(line)
