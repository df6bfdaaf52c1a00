"""A child process's output and exit, and that it does not outlive us. Real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from moshi_phone.runtime.child_process import ChildProcess

ROOT = Path(__file__).parents[2]
WAIT_S = 60.0
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "

CHILD = """
import socket, sys, time
{before}
boss = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
print("up", file=sys.stderr, flush=True)
time.sleep(3600)
"""
PARENT = """
import asyncio, sys
from moshi_phone.runtime.child_process import ChildProcess
async def main():
    child = await ChildProcess.start(sys.argv[1:], grace_secs=0.2)
    print(child._guard.pid, flush=True)
    await asyncio.sleep(3600)
asyncio.run(main())
"""


class Boss:
    """Observes a child's start and end through a socket that the child holds open."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(WAIT_S)
        self._connection: socket.socket | None = None

    def command(self, before: str = "") -> list[str]:
        port = self._listener.getsockname()[1]
        return [sys.executable, "-c", CHILD.replace("{before}", before), str(port)]

    async def child_runs(self) -> None:
        connection, _ = await asyncio.to_thread(self._listener.accept)
        connection.settimeout(WAIT_S)
        self._connection = connection

    async def child_ends(self) -> None:
        assert self._connection is not None
        assert await asyncio.to_thread(self._connection.recv, 1) == b""

    def close(self) -> None:
        self._listener.close()
        if self._connection:
            self._connection.close()


@pytest.fixture
async def boss() -> AsyncIterator[Boss]:
    made = Boss()
    yield made
    made.close()


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


async def test_its_lines_and_its_exit_code_are_reported() -> None:
    heard = list[str]()
    code = (
        "import sys; print('one', file=sys.stderr); print('no'); print('two', file=sys.stderr); sys.exit(3)"
    )
    child = await ChildProcess.start(python(code), grace_secs=1, on_line=heard.append)
    assert await child.wait() == 3
    assert heard == list(child.lines) == ["one", "two"]
    await child.stop()


async def test_the_signal_that_ended_it_is_reported() -> None:
    child = await ChildProcess.start(python("import os; os.kill(os.getpid(), 9)"), grace_secs=1)
    assert await child.wait() == 128 + 9


async def test_it_gets_the_given_environment() -> None:
    code = "import os, sys; print(os.environ['WHO'], file=sys.stderr)"
    child = await ChildProcess.start(python(code), grace_secs=1, env={"WHO": "me"})
    assert await child.wait() == 0
    assert list(child.lines) == ["me"]


async def test_a_program_that_cannot_be_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as error:
        await ChildProcess.start([str(tmp_path / "nothing")], grace_secs=1)
    assert error.value.strerror == "No such file or directory"
    (tmp_path / "text").write_text("not a program")
    (tmp_path / "text").chmod(0o755)
    with pytest.raises(OSError, match="Exec format error"):
        await ChildProcess.start([str(tmp_path / "text")], grace_secs=1)


@pytest.mark.parametrize("before", ["", DEAF], ids=["listens to SIGTERM", "does not"])
async def test_it_can_be_stopped(boss: Boss, before: str) -> None:
    child = await ChildProcess.start(boss.command(before), grace_secs=0.2)
    await boss.child_runs()
    await child.stop()
    await boss.child_ends()
    assert child.returncode == 128 + (signal.SIGKILL if before else signal.SIGTERM)
    await child.stop()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGSEGV])
@pytest.mark.parametrize("before", ["", DEAF], ids=["listens to SIGTERM", "does not"])
async def test_it_does_not_outlive_us(boss: Boss, how: signal.Signals, before: str) -> None:
    parent = await asyncio.create_subprocess_exec(
        *python(PARENT), *boss.command(before), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    await boss.child_runs()
    parent.send_signal(how)
    await parent.communicate()
    await boss.child_ends()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
async def test_the_guard_does_not_outlive_us(boss: Boss) -> None:
    child = await ChildProcess.start(boss.command(), grace_secs=0.2)
    await boss.child_runs()
    os.kill(child._guard.pid, signal.SIGKILL)
    await boss.child_ends()
    await child.stop()


async def test_ctrl_c_on_the_terminal_does_not_reach_it(boss: Boss) -> None:
    child = await ChildProcess.start(boss.command(), grace_secs=0.2)
    await boss.child_runs()
    assert os.getsid(child._guard.pid) == child._guard.pid != os.getsid(0)
    await child.stop()
