"""The time from ``git clone`` to the end of the first answered call.

``uv run python -m benchmarks.first_call`` clones this repository into a fresh folder, types ``uv run bot.py``
there, calls, and prints the seconds of each step. uv's cache is used; ``--cold`` uses an empty
one, so that every package is downloaded. Where mlx finds an accelerator Moshi answers, and is downloaded as
well; with ``MOSHI_ENGINE=parrot`` in the environment the parrot does.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import subprocess
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from benchmarks.table import head, row
from moshi_phone.rehearse.caller import Caller
from moshi_phone.rehearse.clip import CALLER_FILE, caller_speech

ROOT = Path(__file__).resolve().parent.parent
COMMAND = "uv run bot.py"  # as in the README
CALL_SECS = 5.0
STOP_SECS = 10.0


def clone(source: str, folder: Path) -> None:
    """Clone the repository into a new folder."""
    git = shutil.which("git") or "git"
    subprocess.run([git, "clone", "--quiet", "--no-local", source, str(folder)], check=True)  # noqa: S603


async def first_call(folder: Path, environment: Mapping[str, str]) -> list[tuple[str, float]]:
    """Start the program in its folder, call it, and stop it.

    Args:
        folder: a clone.
        environment: of the command.

    Returns:
        The steps and their durations, in seconds.

    Raises:
        SystemExit: when the program ends early, or the call is not answered.
    """
    began_s = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *COMMAND.split(), cwd=folder, env=environment, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT
    )
    try:
        times_s, port = await _answering(process)
        started_s = times_s["start"]
        installed_s = times_s.get("install", began_s)
        record = await Caller(f"ws://127.0.0.1:{port}/stream", caller_speech(CALLER_FILE, CALL_SECS)).call()
        over_s = time.perf_counter()
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        with suppress(TimeoutError):
            await asyncio.wait_for(process.communicate(), STOP_SECS)
    if failed := record.refused or record.broken:
        raise SystemExit(f"The call failed: {failed}")
    first_s = record.ear.segments[0].arrived_s
    return [
        ("uv makes the environment", installed_s - began_s),
        ("the program starts, until it answers", started_s - installed_s),
        ("from the call to the first audio", first_s - started_s),
        (f"the rest of a call of {CALL_SECS:g} s", over_s - first_s),
    ]


async def _answering(process: Process) -> tuple[dict[str, float], int]:
    """Read the output until calls are answered; return when uv and the program were ready, and the port."""
    said, times_s = "", dict[str, float]()
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    while line := (await process.stdout.readline()).decode():
        said += line
        if re.match(r"Installed \d+ packages? in ", line):
            times_s["install"] = time.perf_counter()
        if found := re.search(r"Answering calls at ws://127\.0\.0\.1:(\d+)/", line):
            times_s["start"] = time.perf_counter()
            return times_s, int(found[1])
    raise SystemExit(f"{COMMAND} ended:\n{said}")


def _environment(folder: Path, *, is_cold: bool) -> dict[str, str]:
    """Return this process's environment without its virtual one; ``is_cold``: with an empty cache for uv."""
    own = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    own |= {"MOSHI_PORT": "0"}
    return own | ({"UV_CACHE_DIR": str(folder / "uv-cache")} if is_cold else {})


def main() -> None:
    """Measure once, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cold", action="store_true", help="with an empty cache of uv's")
    parser.add_argument("--source", default=str(ROOT), help="what is cloned: a URL or a folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="first-call-") as name:
        began_s = time.perf_counter()
        clone(arguments.source, Path(name) / "clone")
        steps = [("git clone", time.perf_counter() - began_s)]
        environment = _environment(Path(name), is_cold=arguments.cold)
        steps += asyncio.run(first_call(Path(name) / "clone", environment))
    print("\n".join(head("step", "seconds")))
    for step, secs in steps:
        print(row(step, f"{secs:.1f}"))
    print(row("all of it", f"{sum(secs for _, secs in steps):.1f}"))


if __name__ == "__main__":
    main()
