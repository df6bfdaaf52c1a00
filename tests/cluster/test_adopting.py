"""cluster/manager.py after the death of the previous command: processes are adopted, and no call is cut."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import moshi_phone.cluster.manager as manager_module
from moshi_phone.cluster.gateway import PORT
from moshi_phone.cluster.lifecycle import cluster_running
from moshi_phone.cluster.manager import Manager
from moshi_phone.cluster.options import ClusterOptions
from moshi_phone.cluster.runtime import ExistingActor
from moshi_phone.runtime.fd_passing import offered
from moshi_phone.runtime.stop_signals import Stopped, StopSignals
from moshi_phone.server.lifecycle import listen
from tests.cluster.live_call import LOUD
from tests.cluster.local_cluster import PUBLIC, LocalCluster, local_cluster
from tests.cluster.test_manager import calling, sid, states
from tests.support.logs import Logged
from tests.support.phone import Phone

TWIML = f"{PUBLIC}/twiml"


def next_manager(cluster: LocalCluster, survivors: list[ExistingActor]) -> Manager:
    """Create the manager of a command that starts after the death of the previous one."""
    before = cluster.manager
    cluster.manager = Manager(before._runtime, before._settings, before._options)
    cluster.manager.gateway_url, cluster.manager.ports = before.gateway_url, before.ports
    cluster.manager.adopt(survivors)
    return cluster.manager


async def goes_on(phone: Phone) -> None:
    """Talk until the server answers; after a pause, the governor trims silence."""
    heard = asyncio.create_task(phone.listen(1))
    async with asyncio.timeout(10):
        while not heard.done():
            await phone.say(LOUD, times=4)
            await asyncio.sleep(0.08)
    await heard


async def test_running_processes_are_adopted_and_none_is_started() -> None:
    async with local_cluster(ClusterOptions(workers=2)) as cluster, calling(cluster, 1) as phone:
        started = list(cluster.runtime.started)
        manager = next_manager(cluster, cluster.survivors())
        await cluster.step_until(lambda: manager.ready)
        await goes_on(phone)
        assert states(cluster) == {1: "ready", 2: "ready"}
        assert cluster.runtime.started == started
        assert (manager.status()["gateways"], manager.status()["generation"]) == (["d1", "d2"], 1)
        manager.update()
        await cluster.step_until(lambda: manager.status()["gateways"] == ["d3", "d4"])
        await goes_on(phone)


async def test_changed_settings_are_an_update() -> None:
    async with local_cluster(ClusterOptions(workers=1)) as cluster, calling(cluster, 1) as phone:
        manager = next_manager(cluster, cluster.survivors(is_current=False))
        await cluster.step_until(lambda: manager.has_ready_workers)
        await cluster.step_until(lambda: states(cluster) == {1: "draining", 2: "ready"})
        await cluster.step_until(lambda: manager.status()["gateways"] == ["d3", "d4"])
        await goes_on(phone)


async def test_a_draining_worker_stays_draining() -> None:
    async with local_cluster(ClusterOptions(workers=2)) as cluster:
        async with calling(cluster, 1) as phone, calling(cluster, 2):
            cluster.manager.scale(1)
            await cluster.step_until(lambda: "draining" in states(cluster).values())
            manager = next_manager(cluster, cluster.survivors())
            manager.scale(1)
            await cluster.step_until(lambda: sorted(states(cluster).values()) == ["draining", "ready"])
            await goes_on(phone)
        await cluster.step_until(lambda: list(states(cluster).values()) == ["ready"])


async def test_a_command_that_cannot_start_leaves_running_processes_alone() -> None:
    async with local_cluster(ClusterOptions(workers=1)) as cluster, calling(cluster, 1) as phone:
        manager = next_manager(cluster, cluster.survivors())

        class Breaks(Exception): ...

        async def breaks(*_: Any) -> None:
            raise Breaks

        manager._tell_gateways = breaks  # type: ignore[method-assign]
        with listen("127.0.0.1", 0) as port, pytest.raises(Breaks):
            async with cluster_running(
                manager, manager._settings, StopSignals(), {PORT: port}, control_port=0
            ):
                raise AssertionError("it started")
        await goes_on(phone)
        assert "<Stream" in await cluster.voice.call_in(TWIML, sid(2))
        next_manager(cluster, cluster.survivors())


async def test_an_interrupted_start_lets_running_calls_finish(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(manager_module, "STEP_SECS", 0.1)
    async with local_cluster(ClusterOptions(workers=1)) as cluster:
        async with calling(cluster, 1) as phone:
            manager = next_manager(cluster, cluster.survivors())
            manager.scale(2)
            manager._start = lambda *_: None  # type: ignore[method-assign] # so it is never ready
            stop = StopSignals()

            async def run() -> None:
                with listen("127.0.0.1", 0) as port:
                    async with cluster_running(
                        manager, manager._settings, stop, {PORT: port}, control_port=0
                    ):
                        raise AssertionError("it started")

            running = asyncio.create_task(run())
            while not manager.sessions:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            stop.receive()
            await asyncio.sleep(0.3)
            await goes_on(phone)
        with pytest.raises(Stopped):
            await asyncio.wait_for(running, 20)
        assert not any(one.alive for one in cluster.runtime.processes.values())


async def test_a_gateway_passes_its_port_to_the_next_command() -> None:
    async with local_cluster(ClusterOptions(workers=1)) as cluster:
        gateway, *_ = cluster.gateways()
        path = await gateway.runs.offer()
        taken = await offered(path)
        try:
            assert "{}:{}".format(*taken[PORT].getsockname()) == cluster.address
        finally:
            taken[PORT].close()
        async with asyncio.timeout(20):  # and then it leaves nothing behind
            while Path(path).exists():  # noqa: ASYNC110, ASYNC240
                await asyncio.sleep(0.01)


async def test_an_error_of_ray_does_not_end_supervision(
    logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager_module, "STEP_SECS", 0.1)
    async with local_cluster(ClusterOptions(workers=1)) as cluster:
        manager, fails = cluster.manager, [True]
        keeping = asyncio.create_task(manager.run())
        async with asyncio.timeout(10):
            while not manager.was_staffed:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        start = cluster.runtime.start_worker

        def start_later(*arguments: Any) -> Any:
            if fails.pop():
                fails.append(False)
                raise ConnectionError("Ray's head is away")
            fails.append(False)
            return start(*arguments)

        monkeypatch.setattr(cluster.runtime, "start_worker", start_later)
        manager.scale(2)
        async with asyncio.timeout(20):
            while not (manager.ready and len(manager.workers) == 2):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        keeping.cancel()
    assert "Cluster reconciliation failed" in logged.text


async def test_a_replaced_worker_that_was_being_killed_is_killed() -> None:
    async with local_cluster(ClusterOptions(workers=1)) as cluster:
        (worker, *gateways) = sorted(cluster.survivors(), key=lambda one: one.kind == "gateway")
        old = ExistingActor(
            "worker",
            1,
            0,
            is_current=False,
            handle=cluster.runtime.start_worker(cluster.worker("w1")._spec, 1, 0),
        )
        cluster.runtime.processes["w1"] = worker.handle
        manager = next_manager(cluster, [worker, *gateways, old])
        assert not old.handle.alive
        await cluster.step_until(lambda: manager.ready)
