"""Two nodes of Ray, one of which dies: ``uv run --extra ray pytest -m cluster``."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections import Counter
from contextlib import AsyncExitStack

import psutil
import pytest

from moshi_phone.runtime.ports import free_port
from tests.cluster.live_call import check_no_gap, one_server, place_call, place_calls
from tests.cluster.ray_cluster import RayCluster, ray_cluster
from tests.cluster.ray_node import has_raylet, head, node, ray_environment

pytest.importorskip("ray", reason="needs the extra ray")
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux has 127.0.0.2"),
]


def kill_whole(process: psutil.Process) -> None:
    """Kill a node with all its processes, like a power cut."""
    parts = process.children(recursive=True)
    for one in (process, *parts):
        one.kill()


async def worker_is_below(cluster: RayCluster, number: int, process: psutil.Process) -> bool:
    worker = cluster.process_at(cluster.worker_port + number - 1)
    return process in worker.parents()


async def test_a_failing_machine_loses_its_own_calls_only() -> None:
    # Not pytest's: the paths of Ray's sockets may have no more than a hundred characters.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        port, environment = free_port(), ray_environment()
        other = ("--address", f"127.0.0.2:{port}", "--num-cpus", "2", "--node-ip-address", "127.0.0.3")
        async with AsyncExitStack() as nodes:
            one = await nodes.enter_async_context(head(folder, environment, port))
            two = await nodes.enter_async_context(node(folder, environment, *other))
            await has_raylet(two)
            arguments = ("--ray-address", f"127.0.0.2:{port}", "--cpus-per-worker", "1")
            async with ray_cluster(*arguments, workers=2, **environment) as cluster:
                (gateway, *_) = cluster.gateways()
                doomed = two if one in gateway.parents() else one
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
