"""A cluster with Ray, its processes and their failures: ``uv run --extra ray pytest -m cluster``."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from itertools import cycle

import psutil
import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from moshi_phone.access.source import is_loopback
from moshi_phone.audio import g711, pcm
from moshi_phone.audio.formats import PHONE_RATE_HZ
from moshi_phone.audio.g711 import SILENCE
from moshi_phone.rehearse.clip import CALLER_FILE, read_clip
from tests.cluster.live_call import LiveCall, check_no_gap, go_on, one_server, place_call, place_calls
from tests.cluster.ray_cluster import TWIML, RayCluster, call_sid, ray_cluster
from tests.fakes.twilio_api import ACCOUNT_SID, FakeTwilioApi, fake_twilio_api
from tests.fakes.twilio_voice import FakeTwilioVoice, Rejected
from tests.support.program import program

pytest.importorskip("ray", reason="needs the extra ray")
pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]

GONE_SECS = 6.0  # from the moment in which a machine vanishes to the first answer; 2.3 on a quiet machine
PACKET_BYTES = 160
MAX_SECS = 3.0  # from the break of a stream to the first answer in the next one


@pytest.fixture(scope="module")
def api() -> Iterator[FakeTwilioApi]:
    """Twilio's API, for the cluster's account."""
    with fake_twilio_api() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(api: FakeTwilioApi) -> AsyncIterator[RayCluster]:
    """One cluster for all tests here: it takes about 15 s to start."""
    async with ray_cluster(TWILIO_ACCOUNT_SID=ACCOUNT_SID, TWILIO_API_URL=api.url) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def single() -> AsyncIterator[FakeTwilioVoice]:
    """A single server on the same machine."""
    async with one_server() as voice:
        yield voice


async def in_state(cluster: RayCluster, state: str) -> set[str]:
    return {name for name, one in (await cluster.states()).items() if one == state}


async def all_free(cluster: RayCluster) -> None:
    async with asyncio.timeout(60):
        while (told := await cluster.health())["sessions"] or not told["ready"]:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def test_calls_are_spread_and_an_excess_call_gets_a_busy_tone(cluster: RayCluster) -> None:
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


async def test_ray_is_not_reachable_from_other_machines(cluster: RayCluster) -> None:
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
    """By default, Ray lowers its processes' priority (nice 15), which disturbs calls."""
    own = psutil.Process(cluster.program.pid).nice()
    workers = [cluster.process_at(cluster.worker_port + number).nice() for number in range(3)]
    assert workers + [gateway.nice() for gateway in cluster.gateways()] == [own] * 5


async def test_calls_of_a_killed_worker_continue_at_another(
    cluster: RayCluster, single: FakeTwilioVoice
) -> None:
    """It loses its own conversations and no others."""
    await all_free(cluster)
    async with AsyncExitStack() as stack:
        live = await place_calls(cluster, 4, stack, 200, patience_secs=20)
        control = await place_call(single, 1, stack)
        await asyncio.sleep(1.0)
        for call in (*live, control):
            call.watch()
        killed = live[0].worker
        lost = [call for call in live if call.worker == killed]
        others = [call for call in live if call.worker != killed]
        cluster.process_at(cluster.worker_port + int(killed[1:]) - 1).send_signal(signal.SIGKILL)
        broken_s = time.monotonic()
        async with asyncio.timeout(20):
            while not all(call.broken for call in lost):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            found = await asyncio.gather(*(go_on(cluster.voice, call, stack) for call in lost))
        gap_s = time.monotonic() - broken_s - max(held_s for _, held_s in found)
        led = [call for call, _ in found]
        assert killed not in {call.worker for call in led}
        await asyncio.sleep(2.0)
        check_no_gap(others, control)
        assert gap_s < MAX_SECS + 2 * control.longest_dry_s
        listed = (await cluster.calls())["running"]
        assert Counter(one["worker"] for one in listed) == Counter(call.worker for call in (*led, *others))
        left = others.pop()
        await left.hang_up()  # and the next caller is answered
        await place_calls(cluster, 1, stack, 300, patience_secs=20)
        await cluster.until_states({"w1": "ready", "w2": "ready", "w3": "ready"})
        check_no_gap((*led, *others), control)
    await cluster.until_states({"w1": "ready", "w2": "ready", "w3": "ready"})
    async with AsyncExitStack() as stack:
        await all_free(cluster)
        live = await place_calls(cluster, 6, stack, 400, patience_secs=20)
        assert Counter(call.worker for call in live) == {"w1": 2, "w2": 2, "w3": 2}, "it is back"


async def test_calls_of_a_vanished_machine_continue_at_another(
    cluster: RayCluster, api: FakeTwilioApi
) -> None:
    """A suspended process simulates it: its sockets stay open. When it resumes, it has lost its calls."""
    await all_free(cluster)
    async with AsyncExitStack() as stack:
        live = await place_calls(cluster, 3, stack, 350, patience_secs=20)
        lost = [call for call in live if call.worker == live[0].worker]
        others = [call for call in live if call.worker != live[0].worker]
        for call in lost:
            api.put_in_progress(call.sid)
        await asyncio.sleep(2.0)  # the gateways have heard of the calls
        worker = cluster.process_at(cluster.worker_port + int(lost[0].worker[1:]) - 1)
        worker.suspend()
        gone_s = time.monotonic()
        try:
            led = await asyncio.gather(*(told_to_go_on(cluster, api, call, stack) for call in lost))
            gap_s = time.monotonic() - gone_s - max(held_s for _, held_s in led)
            assert lost[0].worker not in {again.worker for again, _ in led}
            await asyncio.sleep(1.0)
        finally:
            worker.resume()
        assert gap_s < GONE_SECS
        await cluster.until_states({"w1": "ready", "w2": "ready", "w3": "ready"})
        async with asyncio.timeout(20):
            while (await cluster.health())["sessions"] > len(live):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        for call in lost:
            assert len(api.made("POST", f"/Calls/{call.sid}")) == 1, "nobody has asked for it back"
        assert {call.broken for call in (*others, *(again for again, _ in led))} == {None}


async def told_to_go_on(
    cluster: RayCluster, api: FakeTwilioApi, call: LiveCall, stack: AsyncExitStack
) -> tuple[LiveCall, float]:
    """Wait until a call is redirected through Twilio's API, and continue it as Twilio does."""
    async with asyncio.timeout(20):
        while not (told := api.made("POST", f"/Calls/{call.sid}")):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return await go_on(cluster.voice, call, stack, told[0]["Twiml"][0])


async def test_a_gateway_reports_the_turns_of_its_workers_calls(cluster: RayCluster) -> None:
    await all_free(cluster)
    speech = g711.encode(pcm.to_bytes(read_clip(CALLER_FILE)[: 2 * PHONE_RATE_HZ]))
    turn = speech + bytes([SILENCE]) * (2 * PHONE_RATE_HZ)
    packets = [turn[at : at + PACKET_BYTES] for at in range(0, len(turn), PACKET_BYTES)]
    async with AsyncExitStack() as stack:
        call = await place_call(cluster.voice, 360, stack, patience_secs=20, says=cycle(packets))
        async with asyncio.timeout(60):
            while not (await cluster.calls())["running"][0]["conversation"]["turns"]:  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        told = text_string_to_metric_families(await cluster.metrics())
        counted = {
            sample.labels["worker"]: sample.value
            for family in told
            for sample in family.samples
            if sample.name == "moshi_turns_total"
        }
        assert counted.keys() == {"w1", "w2", "w3"}
        assert {worker for worker, turns in counted.items() if turns} == {call.worker}, (
            "others are not speech"
        )
        strip = await cluster.turns(call.sid)
        assert strip["caller"]
        assert strip["bot"]


async def kill_who_is_asked(
    cluster: RayCluster, gateways: Sequence[psutil.Process], asked: psutil.Process
) -> psutil.Process:
    """Kill the gateway that handles a request while it waits for a suspended worker; return the gateway."""
    try:
        while not (found := [one for one in gateways if cluster.is_asked(one)]):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        (gateway,) = found
        gateway.send_signal(signal.SIGKILL)
    finally:
        asked.resume()
    return gateway


async def test_requests_of_a_killed_gateway_are_answered_by_another(
    cluster: RayCluster, single: FakeTwilioVoice
) -> None:
    """The request that it was handling too: its session continues. No other call is affected."""
    await all_free(cluster)
    async with AsyncExitStack() as stack:
        broken, *first = live = await place_calls(cluster, 2, stack, 500, patience_secs=20)
        control = await place_call(single, 2, stack)
        await asyncio.sleep(1.0)
        for call in (*live, control):
            call.watch()
        gateways = cluster.gateways()
        assert len(gateways) == 2
        worker = cluster.process_at(cluster.worker_port + int(broken.worker[1:]) - 1)
        broken.phone.socket.transport.abort()
        worker.suspend()
        broken_s = time.monotonic()
        async with asyncio.timeout(20):
            killed, (again, held_s) = await asyncio.gather(
                kill_who_is_asked(cluster, gateways, worker), go_on(cluster.voice, broken, stack)
            )
        assert time.monotonic() - broken_s - held_s < MAX_SECS + 2 * control.longest_dry_s
        assert again.worker == broken.worker
        await asyncio.to_thread(killed.wait, 20)
        live = [again, *first, *await place_calls(cluster, 2, stack, 510, patience_secs=20)]
        async with asyncio.timeout(60):
            while len(cluster.gateways()) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        live += await place_calls(cluster, 2, stack, 520, patience_secs=20)
        assert [call.broken for call in live] == [None] * 6
        check_no_gap(first, control)


async def test_an_update_under_load_refuses_no_call(cluster: RayCluster, single: FakeTwilioVoice) -> None:
    """Calls last longer than the update, and callers who arrive meanwhile get a session."""
    await all_free(cluster)
    async with AsyncExitStack() as stack:
        live = await place_calls(cluster, 3, stack, 600, patience_secs=20)
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
                    (call,) = await place_calls(cluster, 1, short, number, patience_secs=20)
                    await call.phone.listen(1)
                    answered, number = answered + 1, number + 1
        assert answered > 0
        async with asyncio.timeout(60):
            while await in_state(cluster, "draining") != {call.worker for call in live}:  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        (late,) = await place_calls(cluster, 1, stack, 800, patience_secs=20)
        assert late.worker in {"w4", "w5", "w6"}
        check_no_gap(live, control)
    await cluster.until_states({"w4": "ready", "w5": "ready", "w6": "ready"})
