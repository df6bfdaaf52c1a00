"""Runs the servers of a benchmark, each in its own process."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from moshi_phone.runtime.ports import free_port

ROOT = Path(__file__).parents[1]
READY_SECS = 120


@contextmanager
def serving(
    name: str,
    command: list[str],
    *,
    port: int | None = None,
    ready: str = "",
    environment: Mapping[str, str] | None = None,
) -> Iterator[tuple[int, psutil.Process]]:
    """Run a server from the repository's root while the block runs; yield its port and its process.

    Args:
        name: the server's name, for errors.
        command: Python's arguments; ``--port`` is added.
        port: the server's port; by default a free one.
        ready: the ``/healthz`` response of a server to be measured; by default, any.
        environment: the server's; by default ours.

    Raises:
        SystemExit: when it does not start within two minutes.
    """
    port = port or free_port()
    server = subprocess.Popen(  # noqa: S603 - our own caller names the program
        [sys.executable, *command, "--port", str(port)], cwd=ROOT, env=environment
    )
    try:
        deadline_s = time.monotonic() + READY_SECS
        while not _is_ready(port, ready):
            if server.poll() is not None or time.monotonic() > deadline_s:
                raise SystemExit(f"{name} did not start")
            time.sleep(0.2)
        yield port, psutil.Process(server.pid)
    finally:
        server.terminate()
        server.wait()


def _is_ready(port: int, words: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2) as answer:
            return answer.status == 200 and words in answer.read().decode()  # noqa: PLR2004
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
