"""A cluster with Ray, its processes and their deaths: ``uv run --extra ray pytest -m cluster``."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import psutil
import pytest
import pytest_asyncio

from moshi_phone.access.source import is_loopback
from moshi_phone.audio.g711 import SILENCE
from tests.cluster.live_call import check_no_gap, one_server, place_call, place_calls
from tests.cluster.ray_cluster import TWIML, RayCluster, call_sid, ray_cluster
from tests.fakes.twilio_voice import FakeTwilioVoice, Rejected
from tests.support.program import program

pytest.importorskip("ray", reason="needs the extra ray")
pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster() -> AsyncIterator[RayCluster]:
    """One cluster for all tests here: it takes a quarter of a minute to start."""
    async with ray_cluster() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def single() -> AsyncIterator[FakeTwilioVoice]:
    """A server of its own, on the same machine."""
    async with one_server() as voice:
        yield voice


async def in_state(cluster: RayCluster, state: str) -> set[str]:
    return {name for name, one in (await cluster.states()).items() if one == state}


async def all_free(cluster: RayCluster) -> None:
    async with asyncio.timeout(60):
        while (told := await cluster.health())["sessions"] or not told["ready"]:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def test_calls_are_spread_and_the_one_too_many_hears_busy(cluster: RayCluster) -> None:
    async with AsyncExitStack() as stack:
        live = await place_calls(cluster, 6, stack, 100)
        assert Counter(call.worker for call in live) == {"w1": 2, "w2": 2, "w3": 2}
        await asyncio.sleep(1.0)
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        with pytest.raises(Rejected, match="busy"):
            async with cluster.voice.obey(await cluster.voice.call_in(TWIML, call_sid(1)), call_sid(1)):
                pass
        assert loop.time() - began_s < 5, "far below Twilio's 15 s, on any machine"
        assert [call.broken for call in live] == [None] * 6
        assert all(set(call.phone.heard) - {SILENCE} for call in live)
        listed = (await cluster.calls())["running"]
        assert Counter(one["worker"] for one in listed) == {"w1": 2, "w2": 2, "w3": 2}


async def test_nobody_reaches_ray_from_elsewhere(cluster: RayCluster) -> None:
    whole = psutil.Process(cluster.program.pid)
    listening = {
        (connection.laddr.ip, connection.laddr.port)
        for process in (whole, *whole.children(recursive=True))
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert len(listening) > 6, "Ray's, the gateways' and the workers'"
    assert [one for one in listening if not is_loopback(one[0].removeprefix("::ffff:"))] == []


async def test_workers_run_at_the_priority_of_the_command(cluster: RayCluster) -> None:
    """Left alone, Ray makes its processes wait for all others (nice 15), and the calls with them."""
    own = psutil.Process(cluster.program.pid).nice()
    workers = [cluster.process_at(cluster.worker_port + number).nice() for number in range(3)]
    assert workers + [gateway.nice() for gateway in cluster.gateways()] == [own] * 5


async def test_a_worker_that_is_killed_loses_its_own_calls_and_no_others(
    cluster: RayCluster, single: FakeTwilioVoice
) -> None:
    await all_free(cluster)
    async with AsyncExitStack() as stack:
        live = await place_calls(cluster, 6, stack, 200)
        control = await place_call(single, 1, stack)
        await asyncio.sleep(1.0)
        for call in (*live, control):
            call.watch()
        cluster.process_at(cluster.worker_port + 1).send_signal(signal.SIGKILL)
        async with asyncio.timeout(20):
            while sum(call.broken is not None for call in live) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await asyncio.sleep(2.0)
        assert {call.worker for call in live if call.broken} == {"w2"}
        assert sum(call.broken is not None for call in live) == 2
        others = [call for call in live if call.worker != "w2"]
        check_no_gap(others, control)
        left = others.pop()
        await left.hang_up()  # and the next caller is answered
        await place_calls(cluster, 1, stack, 300, patience_secs=20)
        await cluster.until_states({"w1": "ready", "w2": "ready", "w3": "ready"})
        check_no_gap(others, control)
    await cluster.until_states({"w1": "ready", "w2": "ready", "w3": "ready"})
    async with AsyncExitStack() as stack:
        await all_free(cluster)
        live = await place_calls(cluster, 6, stack, 400)
        assert Counter(call.worker for call in live) == {"w1": 2, "w2": 2, "w3": 2}, "it is back"


async def test_a_gateway_that_is_killed_costs_nothing(cluster: RayCluster, single: FakeTwilioVoice) -> None:
    await all_free(cluster)
    async with AsyncExitStack() as stack:
        first = live = await place_calls(cluster, 2, stack, 500)
        control = await place_call(single, 2, stack)
        await asyncio.sleep(1.0)
        for call in (*live, control):
            call.watch()
        one, *_ = gateways = cluster.gateways()
        assert len(gateways) == 2
        one.send_signal(signal.SIGKILL)
        await asyncio.to_thread(one.wait, 20)
        live = live + await place_calls(cluster, 2, stack, 510)
        async with asyncio.timeout(60):
            while len(cluster.gateways()) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        live += await place_calls(cluster, 2, stack, 520)
        assert [call.broken for call in live] == [None] * 6
        check_no_gap(first, control)


async def test_an_update_under_load(cluster: RayCluster, single: FakeTwilioVoice) -> None:
    """Calls that last longer than it; and callers who come all the while find a session."""
    await all_free(cluster)
    async with AsyncExitStack() as stack:
        live = await place_calls(cluster, 3, stack, 600)
        control = await place_call(single, 3, stack)
        await asyncio.sleep(1.0)
        for call in (*live, control):
            call.watch()
        async with program("cluster", "update", environment=cluster.environment) as update:
            assert await update.ends() == 0, update.said
        answered, number = 0, 700
        async with asyncio.timeout(120):
            while await in_state(cluster, "ready") != {"w4", "w5", "w6"}:
                async with AsyncExitStack() as short:
                    (call,) = await place_calls(cluster, 1, short, number)
                    await call.phone.listen(1)
                    answered, number = answered + 1, number + 1
        assert answered > 0
        async with asyncio.timeout(60):
            while await in_state(cluster, "draining") != {call.worker for call in live}:  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        (late,) = await place_calls(cluster, 1, stack, 800)
        assert late.worker in {"w4", "w5", "w6"}
        check_no_gap(live, control)
    await cluster.until_states({"w4": "ready", "w5": "ready", "w6": "ready"})
