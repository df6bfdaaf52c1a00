"""A cluster that outlives its command: ``uv run --extra ray pytest -m cluster``."""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
from contextlib import AsyncExitStack
from dataclasses import replace

import psutil
import pytest

from moshi_phone.runtime.ports import free_port
from moshi_phone.runtime.stop_signals import REPEAT_SECS
from tests.cluster.live_call import check_no_gap, one_server, place_call, place_calls
from tests.cluster.ray_cluster import ray_cluster
from tests.cluster.ray_node import HEAD, head, ray_environment

pytest.importorskip("ray", reason="needs the extra ray")
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux has 127.0.0.2"),
]

READY = {"w1": "ready", "w2": "ready"}


def left_of(node: psutil.Process) -> list[str]:
    """Return the names of the actors that run there."""
    lines = [" ".join(one.cmdline()) for one in node.children(recursive=True)]
    return [line for line in lines if "_WorkerActor" in line or "_GatewayActor" in line]


async def test_a_killed_command_cuts_no_call_and_the_next_adopts_the_cluster() -> None:
    # Not pytest's folder: the paths of Ray's sockets may have no more than a hundred characters.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        port, environment = free_port(), ray_environment()
        async with (
            head(folder, environment, port) as node,
            ray_cluster("--ray-address", f"{HEAD}:{port}", workers=2, **environment) as cluster,
            AsyncExitStack() as stack,
        ):
            live = await place_calls(cluster, 2, stack, 100)
            control = await place_call(await stack.enter_async_context(one_server()), 1, stack)
            gateways = cluster.gateways()
            await asyncio.sleep(1.0)
            for call in (*live, control):
                call.watch()
            cluster.program.signal(signal.SIGKILL)
            await cluster.program.ends()
            await asyncio.sleep(3.0)  # so that Ray has found it
            live += await place_calls(cluster, 1, stack, 110, patience_secs=20)
            check_no_gap(live[:2], control)

            second = replace(cluster, program=await stack.enter_async_context(cluster.again()))
            await second.takes_calls()
            assert "Adopted 4 processes of an earlier command" in second.program.said
            assert cluster.gateways() == gateways, "the same processes"
            assert await cluster.states() == READY
            live += await place_calls(cluster, 1, stack, 120, patience_secs=20)
            check_no_gap(live[:2], control)
            assert {call.worker for call in live} == set(READY)

            async with cluster.again() as third:
                assert await asyncio.wait_for(third.ends(), 60) != 0
                assert "A cluster command runs already for this account" in third.said
                assert "Traceback" not in third.said

            check_no_gap(live[:2], control)
            for _ in range(2):  # the second does not wait for calls
                second.program.signal(signal.SIGTERM)
                await asyncio.sleep(REPEAT_SECS)
            assert await asyncio.wait_for(second.program.ends(), 60) == 0
            assert [call.broken for call in live] == ["ConnectionClosedOK"] * 4
            assert left_of(node) == []

            async with cluster.again() as broken_off:
                await broken_off.says("Starting worker w2")
                broken_off.signal(signal.SIGTERM)
                await asyncio.wait_for(broken_off.ends(), 60)
                assert "Traceback" not in broken_off.said
            assert left_of(node) == []
