"""Two nodes of Ray, one of which dies: ``uv run --extra ray pytest -m cluster``."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import psutil
import pytest

from runtime.ports import free_port
from tests.cluster.live_call import check_no_gap, one_server, place_call, place_calls
from tests.cluster.ray_cluster import RayCluster, ray_cluster

pytest.importorskip("ray", reason="needs the extra ray")
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux has 127.0.0.2"),
]

QUICK = {
    # What else takes half a minute: to find that a machine is gone.
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}


@asynccontextmanager
async def node(folder: str, environment: dict[str, str], *arguments: str) -> AsyncIterator[psutil.Process]:
    """Run a node until it is killed or no more needed; nothing of it is left then."""
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


def kill_whole(process: psutil.Process) -> None:
    """Do what a power cut does."""
    parts = process.children(recursive=True)
    for one in (process, *parts):
        one.kill()


async def worker_is_below(cluster: RayCluster, number: int, process: psutil.Process) -> bool:
    worker = cluster.process_at(cluster.worker_port + number - 1)
    return process in worker.parents()


async def test_a_machine_that_dies_takes_its_own_calls_and_no_others() -> None:
    # Not pytest's: the paths of Ray's sockets may have no more than a hundred characters.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        port = free_port()
        environment = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
            **QUICK,
        }
        head = (
            *("--head", "--port", str(port), "--num-cpus", "2", "--include-dashboard", "false"),
            *("--node-ip-address", "127.0.0.2"),
            *("--temp-dir", str(Path(folder) / "r")),
        )
        other = ("--address", f"127.0.0.2:{port}", "--num-cpus", "2", "--node-ip-address", "127.0.0.3")
        async with AsyncExitStack() as nodes:
            one = await nodes.enter_async_context(node(folder, environment, *head))
            await reachable(port)
            two = await nodes.enter_async_context(node(folder, environment, *other))
            await has_raylet(two)
            arguments = ("--ray-address", f"127.0.0.2:{port}", "--cpus-per-worker", "1")
            async with ray_cluster(*arguments, workers=2, **environment) as cluster:
                (desk, *_) = cluster.desks()
                doomed = two if one in desk.parents() else one
                assert doomed is two, "the command joins the head"
                there = [n for n in (1, 2) if await worker_is_below(cluster, n, doomed)]
                assert len(there) == 1, "workers are spread over machines"
                name = f"w{there[0]}"
                async with AsyncExitStack() as stack:
                    live = await place_calls(cluster, 4, stack, 100)
                    control = await place_call(await stack.enter_async_context(one_server()), 1, stack)
                    assert Counter(call.worker for call in live) == {"w1": 2, "w2": 2}
                    await asyncio.sleep(1.0)
                    for call in (*live, control):
                        call.watch()
                    kill_whole(doomed)
                    async with asyncio.timeout(30):
                        while sum(call.broken is not None for call in live) < 2:  # noqa: ASYNC110
                            await asyncio.sleep(0.05)
                    await asyncio.sleep(2.0)
                    assert {call.worker for call in live if call.broken} == {name}
                    assert sum(call.broken is not None for call in live) == 2
                    (left, *others) = [call for call in live if not call.broken]
                    check_no_gap((left, *others), control)
                    await left.hang_up()
                    (late,) = await place_calls(cluster, 1, stack, 200, patience_secs=20)
                    assert late.worker != name
                await cluster.until_states({"w1": "ready", "w2": "ready"})


async def reachable(port: int) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.2", port)
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
