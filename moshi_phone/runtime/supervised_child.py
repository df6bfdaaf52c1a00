"""Runs a program that must not outlive ours: ``python -I supervised_child.py GRACE_SECS COMMAND…``.

Our process holds the other end of this process's stdin and writes nothing. When that end closes, because our
process closes it, crashes or is killed, the program gets SIGTERM, and after the grace period SIGKILL. Only a
pipe detects a process's death at once on every system; therefore this separate process. The first line on
stdout says that the program was started (``STARTED``), or why not (errno and reason); the exit code is the
program's own, or 128 and the signal that ended it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence

STARTED = "started"
_STDIN, _STDOUT = 0, 1
_PR_SET_PDEATHSIG, _SIGTERM = 1, 15


def main(grace_secs: float, command: Sequence[str]) -> int:
    """Run the command until it or stdin ends; return its exit code."""
    try:
        child = subprocess.Popen(  # noqa: S603 - our own caller names the program
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            preexec_fn=_end_with_guard(),  # noqa: PLW1509 - there are no threads yet
        )
    except OSError as error:
        os.write(_STDOUT, f"{error.errno} {error.strerror}\n".encode())
        return 1
    with contextlib.suppress(BrokenPipeError):  # our process is gone already, which stdin will show
        os.write(_STDOUT, f"{STARTED}\n".encode())
    threading.Thread(target=_end_with_stdin, args=(child, grace_secs), daemon=True).start()
    code = child.wait()
    return code if code >= 0 else 128 - code  # as in a shell


def _end_with_stdin(child: subprocess.Popen[bytes], grace_secs: float) -> None:
    # Nothing is ever written to it; only its end matters.
    while os.read(_STDIN, 4096):
        pass
    child.terminate()
    try:
        child.wait(grace_secs)
    except subprocess.TimeoutExpired:
        child.kill()


def _end_with_guard() -> Callable[[], None] | None:
    """On Linux, make the program end even if this process is killed."""
    if sys.platform != "linux":
        return None
    import ctypes  # noqa: PLC0415 - only here

    libc = ctypes.CDLL(None)
    return lambda: libc.prctl(_PR_SET_PDEATHSIG, _SIGTERM)


if __name__ == "__main__":
    # Not sys.exit: the thread may be reading, and the interpreter would wait for it.
    os._exit(main(float(sys.argv[1]), sys.argv[2:]))
