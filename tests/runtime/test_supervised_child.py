from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from moshi_phone.runtime import supervised_child
from moshi_phone.runtime.supervised_child import STARTED


def guarded(*command: str, grace_secs: float = 5.0) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603 - the test names the program
        [sys.executable, "-I", supervised_child.__file__, str(grace_secs), *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_it_reports_the_start_and_the_program_s_exit_code() -> None:
    with guarded("sh", "-c", "exit 3") as child:
        assert child.stdout is not None
        assert child.stdout.read() == f"{STARTED}\n"
        assert child.wait(30) == 3


def test_it_reports_why_it_could_not_start() -> None:
    with guarded("/no/such/program") as child:
        assert child.stdout is not None
        number, _, reason = child.stdout.read().partition(" ")
        assert (number, reason) == ("2", "No such file or directory\n")
        assert child.wait(30) == 1


@pytest.mark.parametrize(("ignores", "code"), [("", 128 + 15), ("trap '' TERM; ", 128 + 9)])
def test_the_program_ends_with_stdin_by_force_if_necessary(tmp_path: Path, ignores: str, code: int) -> None:
    runs = tmp_path / "runs"
    with guarded("sh", "-c", f"{ignores}touch {runs}; while :; do sleep 0.05; done", grace_secs=0.5) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == f"{STARTED}\n"
        while not runs.exists():  # the shell has set its trap by then
            time.sleep(0.01)
        child.stdin.close()
        assert child.wait(30) == code
