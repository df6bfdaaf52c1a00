"""The guard by itself: what it says of its program, and that its stdin is the program's life.

What ``ChildProcess`` makes of it, and that it works when we are killed, is in ``test_child_process.py``.
"""

from __future__ import annotations

import errno
import signal
import subprocess
import sys

from runtime import guarded_child


def guard(*command: str, stdin: int = subprocess.PIPE) -> tuple[int, str]:
    """Exit code and stdout of a guard whose stdin stays open, or is at its end with ``DEVNULL``."""
    running = subprocess.Popen(  # noqa: S603
        [sys.executable, "-IS", guarded_child.__file__, "0.2", *command],
        stdin=stdin,
        stdout=subprocess.PIPE,
        text=True,
    )
    with running:
        assert running.stdout is not None
        said = running.stdout.read()
        return running.wait(), said


def test_the_exit_code_is_the_program_s() -> None:
    assert guard(sys.executable, "-c", "raise SystemExit(7)") == (7, "started\n")


def test_the_end_of_stdin_ends_the_program() -> None:
    sleeping = (sys.executable, "-c", "import time; time.sleep(3600)")
    assert guard(*sleeping, stdin=subprocess.DEVNULL) == (128 + signal.SIGTERM, "started\n")


def test_a_program_that_is_not_there() -> None:
    code, said = guard("/no/such/program")
    assert (code, said) == (1, f"{errno.ENOENT} No such file or directory\n")
