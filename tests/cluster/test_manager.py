"""cluster/manager.py with real workers, without Ray: updates, scaling, failures, and shutdown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest

import moshi_phone.cluster.manager as manager_module
from moshi_phone.cluster.control import ControlAuth, ControlError, ask_cluster, create_control_app
from moshi_phone.cluster.fleet import WorkerState
from moshi_phone.cluster.gateway import PORT
from moshi_phone.cluster.lifecycle import cluster_running
from moshi_phone.cluster.manager import RETRY_SECS, Manager
from moshi_phone.cluster.options import ClusterOptions
from moshi_phone.runtime.fd_passing import offering
from moshi_phone.runtime.ports import free_port
from moshi_phone.runtime.stop_signals import StopSignals
from moshi_phone.server.lifecycle import listen
from moshi_phone.server.net.http_server import uvicorn_config
from moshi_phone.server.settings import SettingsError
from tests.cluster.local_cluster import (
    PUBLIC,
    LocalCluster,
    LocalRuntime,
    local_cluster,
    settings,
)
from tests.fakes.twilio_api import AUTH_TOKEN
from tests.fakes.twilio_voice import FakeTwilioVoice
from tests.support.logs import Logged
from tests.support.phone import Phone, serving_app

TWIML = f"{PUBLIC}/twiml"


def sid(number: int) -> str:
    return f"CA{number:032x}"


@asynccontextmanager
async def calling(cluster: LocalCluster, number: int) -> AsyncIterator[Phone]:
    twiml = await cluster.voice.call_in(TWIML, sid(number))
    async with cluster.voice.obey(twiml, sid(number)) as (phone, _):
        await phone.say(times=4)
        await phone.listen(1)
        yield phone


def states(cluster: LocalCluster) -> dict[int, str]:
    return {one.number: str(one.state) for one in cluster.manager.workers}


async def test_an_update_cuts_nobody_and_refuses_nobody() -> None:
    async with local_cluster(ClusterOptions(workers=2)) as cluster:
        async with calling(cluster, 1) as one, calling(cluster, 2) as two:
            cluster.manager.update()
            await cluster.step_until(lambda: states(cluster).get(4) == "ready" == states(cluster).get(3))
            await cluster.step_until(lambda: len(cluster.gateways()) == 2)
            assert states(cluster) == {1: "draining", 2: "draining", 3: "ready", 4: "ready"}
            for phone in (one, two):  # still there
                await phone.say(times=4)
                await phone.listen(1)
            async with calling(cluster, 3), calling(cluster, 4):
                for number in (3, 4):
                    state = cluster.worker(f"w{number}")._state
                    assert state is not None
                    assert len(state.calls.running) == 1
        await cluster.step_until(lambda: states(cluster) == {3: "ready", 4: "ready"})
        assert cluster.manager.status()["gateways"] == ["d3", "d4"]
        cluster.manager.update()  # the names of the first generation are free again
        await cluster.step_until(lambda: states(cluster) == {1: "ready", 2: "ready"})


async def test_a_call_already_routed_to_an_old_worker_is_accepted() -> None:
    """About a second passes between the webhook's response and its stream."""
    async with local_cluster(ClusterOptions(workers=1)) as cluster:
        twiml = await cluster.voice.call_in(TWIML, sid(1))
        assert "w1.example.com" in twiml
        cluster.manager.update()
        await cluster.step_until(lambda: states(cluster) == {1: "draining", 2: "ready"})
        await asyncio.sleep(0.5)
        async with cluster.voice.obey(twiml, sid(1)) as (phone, _):
            await phone.say(times=4)
            await phone.listen(1)
            assert "w2.example.com" in await cluster.voice.call_in(TWIML, sid(2))
        await cluster.step_until(lambda: states(cluster) == {2: "ready"})


async def test_scaling_up_and_down() -> None:
    async with local_cluster(ClusterOptions(workers=1)) as cluster:
        cluster.manager.scale(3)
        await cluster.step_until(lambda: cluster.manager.ready and len(states(cluster)) == 3)
        async with calling(cluster, 1) as phone:  # w1's: it is the first of equals
            cluster.manager.scale(1)
            await cluster.step_until(lambda: states(cluster) == {1: "ready"})
            await phone.say(times=4)
            await phone.listen(1)


async def test_spare_sessions_are_kept_free() -> None:
    options = ClusterOptions(spare_calls=2, min_workers=1, max_workers=3)
    async with local_cluster(options) as cluster:
        assert states(cluster) == {1: "ready"}
        async with calling(cluster, 1):
            await cluster.step_until(lambda: states(cluster) == {1: "ready", 2: "ready"})


async def test_a_dead_worker_gets_no_calls_until_it_is_back() -> None:
    async with local_cluster(ClusterOptions(workers=2)) as cluster, calling(cluster, 1):
        process = cluster.runtime.processes["w2"]
        process.alive = False
        async with calling(cluster, 2):
            state = cluster.worker("w1")._state
            assert state is not None
            assert len(state.calls.running) == 2
        await cluster.manager.step()
        assert states(cluster) == {1: "ready", 2: "dead"}
        process.alive = True
        await cluster.step_until(lambda: states(cluster) == {1: "ready", 2: "ready"})


async def test_a_worker_that_failed_to_start_is_restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0
    port = free_port()
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", port)
    of = settings()
    runtime = LocalRuntime(of)
    options = ClusterOptions(workers=1, worker_port=port, worker_url="wss://{name}.example.com")
    manager = Manager(runtime, of, options, clock=lambda: now_s)
    with listen(of.server.host, of.server.port) as held:
        async with offering({PORT: held}) as manager.ports:
            try:
                await until(manager, lambda: manager.failure is not None)
                assert manager.failure == f"Port {port} is taken; choose another with --port."
                taken.close()
                now_s += RETRY_SECS
                await until(manager, lambda: manager.ready)
                assert manager.workers[0].state is WorkerState.READY
            finally:
                manager.kill_all()
                await runtime.ended()


async def until(manager: Manager, condition: Callable[[], bool]) -> None:
    for _ in range(500):
        await manager.step()
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(manager.status())


async def test_the_cluster_does_not_start_if_no_worker_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager_module, "STEP_SECS", 0.1)
    of = settings()
    runtime = LocalRuntime(of)
    port = free_port()
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", port)
    options = ClusterOptions(workers=1, worker_port=port, worker_url="wss://{name}.example.com")
    with listen(of.server.host, of.server.port) as held, pytest.raises(SettingsError, match="is taken"):
        async with cluster_running(
            Manager(runtime, of, options), of, StopSignals(), {PORT: held}, control_port=0
        ):
            raise AssertionError("it started")
    taken.close()
    await runtime.ended()


async def test_at_shutdown_running_calls_may_finish_and_new_ones_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(manager_module, "STEP_SECS", 0.1)
    of = settings()
    runtime = LocalRuntime(of)
    port = free_port()
    options = ClusterOptions(workers=1, worker_port=port, worker_url="wss://{name}.example.com")
    manager = Manager(runtime, of, options)
    local = LocalCluster(manager, runtime, f"127.0.0.1:{of.server.port}", None)  # type: ignore[arg-type]
    local.voice = FakeTwilioVoice(PUBLIC, local.address, {"w1.example.com": f"127.0.0.1:{port}"})
    stop = StopSignals()
    begun = asyncio.Event()

    async def run() -> None:
        with listen(of.server.host, of.server.port) as held:
            async with cluster_running(manager, of, stop, {PORT: held}, control_port=0):
                begun.set()
                await stop.stop_requested.wait()

    running = asyncio.ensure_future(run())
    await begun.wait()
    async with calling(local, 1) as phone:
        stop.receive()
        while not (await local.worker("w1").report(PUBLIC)).closing:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)
        assert "busy" in await local.voice.call_in(TWIML, sid(2))
        await phone.say(times=4)
        await phone.listen(1)
        assert not running.done()
    await asyncio.wait_for(running, 20)
    await runtime.ended()
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientConnectionError):
            await http.get(f"http://{local.address}/healthz")


async def test_control_requires_the_token(logged: Logged) -> None:
    async with local_cluster(ClusterOptions(workers=1)) as cluster:
        app = create_control_app(cluster.manager, ControlAuth(AUTH_TOKEN))
        async with serving_app(uvicorn_config(app)) as address:
            port = int(address.rpartition(":")[2])
            with pytest.raises(ControlError, match="not one of ours"):
                await ask_cluster(port, "another", "POST", "/update")
            with pytest.raises(ControlError, match="expected 1 to 1000 workers, got 0"):
                await ask_cluster(port, AUTH_TOKEN, "POST", "/scale/0")
            told = await ask_cluster(port, AUTH_TOKEN, "GET", "")
            assert [one["name"] for one in told["workers"]] == ["w1"]
            assert told["ready"]
            await ask_cluster(port, AUTH_TOKEN, "POST", "/scale/2")
            told = await ask_cluster(port, AUTH_TOKEN, "POST", "/update")
            assert (told["wanted"], told["generation"]) == (2, 2)
        with pytest.raises(ControlError, match="start one with cluster"):
            await ask_cluster(port, AUTH_TOKEN, "GET", "")
    assert "Refused a request to the cluster" in logged.text
