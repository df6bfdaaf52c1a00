"""Phone calls outlive their streams and their workers: through the gateway, on real sockets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from moshi_phone.cluster.options import ClusterOptions
from moshi_phone.server.calls import next_step
from moshi_phone.server.calls.call import Call
from moshi_phone.server.calls.options import CallOptions
from moshi_phone.server.calls.state import ServerState
from tests.cluster.local_cluster import PUBLIC, LocalCluster, local_cluster, settings
from tests.cluster.test_gateway import TWIML, sid, worker_of
from tests.cluster.test_untaken_calls import form, of_account
from tests.fakes.twilio_api import FakeTwilioApi
from tests.server.calls.test_next_step import verbs
from tests.support.phone import Phone
from tests.support.waiting import until

MAX_SECS = 3.0  # until the callers of a worker that died are led to another one


@pytest.fixture(autouse=True)
def _ask_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(next_step, "ASK_SECS", 60.0)
    monkeypatch.setattr("bot.HEARD_SECS", 0.0)  # a test sends its request right after the last packet


async def talk(phone: Phone) -> None:
    await phone.say(times=4)
    await phone.listen(1)


def state_of(cluster: LocalCluster, twiml: str) -> ServerState:
    state = cluster.worker(worker_of(twiml))._state
    assert state is not None
    return state


def only(state: ServerState) -> Call:
    (call,) = state.calls.running
    return call


@asynccontextmanager
async def calling(cluster: LocalCluster, twiml: str) -> AsyncIterator[Phone]:
    async with cluster.voice.obey(twiml, sid(1)) as (phone, _):
        await talk(phone)
        yield phone


async def lose(cluster: LocalCluster, twiml: str, phone: Phone) -> None:
    phone.socket.transport.abort()
    await until(lambda: state_of(cluster, twiml).next_steps.peek(sid(1)))


async def test_a_broken_stream_is_reconnected_to_its_session() -> None:
    async with local_cluster(ClusterOptions(workers=2)) as cluster:
        twiml = await cluster.voice.call_in(TWIML, sid(1))
        async with calling(cluster, twiml) as phone:
            state, call = state_of(cluster, twiml), only(state_of(cluster, twiml))
            await lose(cluster, twiml, phone)
        again = await cluster.voice.after(twiml, sid(1))
        async with calling(cluster, again) as phone:
            assert only(state) is call
            await lose(cluster, again, phone)
            await cluster.voice.tell(f"{PUBLIC}/status", sid(1), CallStatus="completed")
            await state.calls.wait_until_idle()
            assert await call.wait_for_end() == ("the caller hung up", 1000)


@pytest.mark.parametrize("forgets", [False, True])
async def test_calls_of_a_dead_worker_are_redirected_to_another(*, forgets: bool) -> None:
    """At once, after one request: with Ray, each request waits for a second while the worker restarts."""
    async with local_cluster(ClusterOptions(workers=2)) as cluster:
        twiml = await cluster.voice.call_in(TWIML, sid(1))
        await cluster.refresh()
        assert worker_of(await cluster.voice.call_in(TWIML, sid(2))) != worker_of(twiml)
        async with calling(cluster, twiml) as phone:
            await cluster.refresh()  # both have one call, and one free session
            dead = cluster.runtime.processes[worker_of(twiml)]
            dead.alive = False
            phone.socket.transport.abort()
        if forgets:  # the gateway was killed with it: another one answers, which knows nothing
            for gateway in cluster.gateways():
                gateway.runs.router._load.keep_only(set())
        began_s = time.monotonic()
        again = await cluster.voice.after(twiml, sid(1))
        async with calling(cluster, again):
            assert worker_of(again) != worker_of(twiml)
            assert time.monotonic() - began_s < MAX_SECS
            assert [one for one in dead.unanswered if one != "report"] == ["next_step"]
            incoming = only(state_of(cluster, again)).expected.incoming
            assert incoming is not None
            assert incoming.from_ == "+15551234567"
        dead.alive = True


@pytest.mark.parametrize("asks", [False, True])
async def test_calls_of_a_vanished_machine_are_redirected_to_another(
    twilio: FakeTwilioApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, asks: bool
) -> None:
    """Its sockets stay open, so Twilio does not ask for the next step: the call is redirected, unless Twilio
    has asked."""
    monkeypatch.setattr("moshi_phone.cluster.silent_workers.SILENT_SECS", 0.2)
    monkeypatch.setattr("moshi_phone.cluster.gateway.LOOK_SECS", 0.1)
    options = ClusterOptions(workers=2, gateways=2)
    async with local_cluster(options, of_account(twilio, tmp_path)) as cluster:
        twiml = await cluster.voice.call_in(TWIML, sid(1))
        other = await cluster.voice.call_in(TWIML, sid(2))
        assert worker_of(other) != worker_of(twiml)
        twilio.put_in_progress(sid(1))
        twilio.put_in_progress(sid(2))
        async with calling(cluster, twiml), cluster.voice.obey(other, sid(2)) as (phone, _):
            await talk(phone)
            await asyncio.sleep(0.3)  # both gateways have a report with the calls
            dead = cluster.runtime.processes[worker_of(twiml)]
            dead.alive = False
            if asks:
                again = await cluster.voice.after(twiml, sid(1))
                await asyncio.sleep(0.5)
            else:
                await until(lambda: twilio.made("POST", "/Calls/"))
                (told,) = twilio.made("POST", f"/Calls/{sid(1)}")
                dead.unanswered.clear()
                again = await cluster.voice.after(told["Twiml"][0], sid(1))
                assert "next_step" not in dead.unanswered, "nobody waits for it"
            async with calling(cluster, again):
                assert worker_of(again) == worker_of(other)
                dead.alive = True
                (left,) = (state := state_of(cluster, twiml)).calls.running
                await until(lambda: not state.calls.running)
                assert (await left.wait_for_end())[0] == "a newer stream of the call took its place"
                assert left.handed_over, "the phone call goes on"
                assert len(state_of(cluster, again).calls.running) == 2
            assert len(twilio.made("POST", "/Calls/")) == (not asks), "once, and of no other call"


async def test_a_request_already_answered_by_another_gateway_gets_the_same_answer() -> None:
    """A replay must get neither a new token nor a second session from the other gateway."""
    async with local_cluster(ClusterOptions(workers=2, gateways=2)) as cluster:
        fields = form(1, CallStatus="ringing")
        status, twiml = await cluster.voice.post(TWIML, fields)
        assert status == 200
        (asked,) = [one.runs for one in cluster.gateways() if one.runs.router.remembered._documents]
        await asked.close()  # it accepts no more connections, so the other one does
        async with calling(cluster, twiml) as phone:
            state = state_of(cluster, twiml)
            assert await cluster.voice.post(TWIML, fields) == (200, twiml)
            phone.socket.transport.abort()
            await until(lambda: state.next_steps.peek(sid(1)))
        again = await cluster.voice.after(twiml, sid(1))
        await cluster.refresh()
        (other,) = [one.runs for one in cluster.gateways() if one.runs is not asked]
        assert other.router.remembered._documents, "it has answered what followed"
        assert sum(report.sessions for report in other.router.reports.values()) == 1
        assert worker_of(again) == worker_of(twiml)


async def test_an_update_hands_over_calls_that_outlast_it() -> None:
    of = settings()
    of = replace(of, server=replace(of.server, drain_secs=0.2))
    async with local_cluster(ClusterOptions(workers=1), of) as cluster:
        twiml = await cluster.voice.call_in(TWIML, sid(1))
        async with calling(cluster, twiml) as phone:
            cluster.manager.update()
            await cluster.step_until(lambda: phone.socket.close_code is not None)
            assert (await phone.closed())[0] == 1012
        again = await cluster.voice.after(twiml, sid(1))
        async with calling(cluster, again):
            assert worker_of(again) != worker_of(twiml)
            assert only(state_of(cluster, again)).expected.resumes == 1


async def test_callers_are_on_hold_while_no_worker_is_free() -> None:
    of = settings(calls=CallOptions(hold_secs=2, fallback_say="Please call later.", resumes=1))
    async with local_cluster(ClusterOptions(workers=1), of) as cluster:
        twiml = await cluster.voice.call_in(TWIML, sid(1))
        for gateway in cluster.gateways():
            gateway.runs.router.closing = True
        held = await cluster.voice.after(twiml, sid(1))
        assert verbs(held) == ["Pause", "Redirect"]
        assert verbs(await cluster.voice.after(held, sid(1))) == ["Say"], "in the end"
        assert verbs(await cluster.voice.after(twiml.replace("resumes=0", "resumes=1"), sid(1))) == ["Say"]
