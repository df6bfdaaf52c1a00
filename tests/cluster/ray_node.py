"""Nodes of a Ray cluster that runs without the command, each on its own loopback address."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

HEAD = "127.0.0.2"
QUICK = {
    # Detecting that a machine is gone would take 30 s otherwise.
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}


@asynccontextmanager
async def node(folder: str, environment: dict[str, str], *arguments: str) -> AsyncIterator[psutil.Process]:
    """Run a node until it is killed or no longer needed; leave no process or file behind."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"),
        *("--object-store-memory", str(80 * 1024 * 1024), *arguments),
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": folder, **environment},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield psutil.Process(process.pid)
    finally:
        parts = []
        if process.returncode is None:
            parts = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGTERM)
        await process.wait()
        for part in parts:
            if part.is_running():
                part.kill()


def ray_environment() -> dict[str, str]:
    """Return the environment that nodes and the command must share."""
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        **QUICK,
    }


@asynccontextmanager
async def head(folder: str, environment: dict[str, str], port: int) -> AsyncIterator[psutil.Process]:
    """Run the first node until it is killed or no longer needed."""
    arguments = (
        *("--head", "--port", str(port), "--num-cpus", "2", "--include-dashboard", "false"),
        *("--node-ip-address", HEAD),
        *("--temp-dir", str(Path(folder) / "r")),
    )
    async with node(folder, environment, *arguments) as process:
        await reachable(port)
        yield process


async def reachable(port: int) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection(HEAD, port)
            except OSError:
                await asyncio.sleep(0.1)
            else:
                writer.close()
                return


async def has_raylet(process: psutil.Process) -> None:
    async with asyncio.timeout(60):
        while "raylet" not in {one.name() for one in process.children(recursive=True)}:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    await asyncio.sleep(1.0)  # it has a process; it registers a moment later
