"""cluster/gateway.py with real workers on real sockets: routing of calls, and the cluster's status."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import AsyncExitStack
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from moshi_phone.access.options import WebOptions
from moshi_phone.access.refusal import Refusal, RefusalCause
from moshi_phone.access.refusals import by_cause
from moshi_phone.access.tokens import StreamTokens
from moshi_phone.cluster.aggregate import merged_metrics
from moshi_phone.cluster.options import ClusterOptions
from moshi_phone.cluster.worker import Worker
from moshi_phone.cluster.worker_client import WorkerReport
from moshi_phone.hooks.options import HookOptions
from moshi_phone.server.calls.options import CallOptions
from moshi_phone.server.web.server_status import LoadStatus, Phase, ServerStatus
from tests.cluster.local_cluster import PUBLIC, LocalCluster, local_cluster, settings
from tests.fakes.hook import hook, says
from tests.fakes.twilio_api import AUTH_TOKEN
from tests.fakes.twilio_voice import CALLER, Rejected
from tests.support.logs import Logged
from tests.support.phone import Phone, start_message

TWIML = f"{PUBLIC}/twiml"


def sid(number: int) -> str:
    return f"CA{number:032x}"


def worker_of(twiml: str) -> str:
    (stream,) = ET.fromstring(twiml).iter("Stream")  # noqa: S314 - our own
    return (urlsplit(stream.attrib["url"]).hostname or "").partition(".")[0]


def token_of(twiml: str) -> str:
    (stream,) = ET.fromstring(twiml).iter("Stream")  # noqa: S314 - our own
    return next(each.attrib["value"] for each in stream if each.attrib["name"] == "token")


async def get(cluster: LocalCluster, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as http, http.get(f"http://{cluster.address}{path}") as answer:
        return answer.status, await answer.text()


async def test_calls_are_spread_and_an_excess_call_gets_a_busy_tone() -> None:
    async with local_cluster() as cluster, AsyncExitStack() as calls:
        workers = Counter[str]()
        for number in range(6):
            twiml = await cluster.voice.call_in(TWIML, sid(number))
            workers[worker_of(twiml)] += 1
            phone, status_url = await calls.enter_async_context(cluster.voice.obey(twiml, sid(number)))
            assert status_url == f"{PUBLIC}/status", "webhooks go to the gateway"
            await phone.say(times=4)
            await phone.listen(1)
        assert workers == {"w1": 2, "w2": 2, "w3": 2}
        with pytest.raises(Rejected, match="busy"):
            async with cluster.voice.obey(await cluster.voice.call_in(TWIML, sid(9)), sid(9)):
                pass
        await cluster.refresh()
        status, text = await get(cluster, "/healthz")
        told = json.loads(text)
        assert (status, told["capacity"], told["sessions"], told["free"]) == (200, 6, 6, 0)
        assert told["workers"] == {"ready": 3}, "the world may count them"


async def test_simultaneous_callers_get_one_session_each() -> None:
    async with local_cluster() as cluster:
        answers = await asyncio.gather(*(cluster.voice.call_in(TWIML, sid(n)) for n in range(8)))
        led = [answer for answer in answers if "<Stream" in answer]
        assert Counter(map(worker_of, led)) == {"w1": 2, "w2": 2, "w3": 2}
        assert sum('<Reject reason="busy"' in answer for answer in answers) == 2


async def test_calls_without_a_session_go_to_the_fallback() -> None:
    of = settings(calls=CallOptions(fallback_say="Please call later."))
    async with local_cluster(ClusterOptions(workers=1), of) as cluster:
        answers = [await cluster.voice.call_in(TWIML, sid(number)) for number in range(3)]
        assert ["<Say>Please call later.</Say>" in answer for answer in answers] == [False, False, True]


async def refused(cluster: LocalCluster, worker: str, token: str | None, call_sid: str) -> str:
    address = cluster.voice._workers[f"{worker}.example.com"]
    start = start_message(parameters={"token": token} if token else None, call_sid=call_sid)
    async with Phone.calling(address, start) as phone:
        return (await phone.closed())[1]


async def test_tokens() -> None:
    async with local_cluster(ClusterOptions(workers=2)) as cluster:
        twiml = await cluster.voice.call_in(TWIML, sid(1))
        mine, token = worker_of(twiml), token_of(twiml)
        other = {"w1": "w2", "w2": "w1"}[mine]
        of_the_account = StreamTokens.from_auth_token(AUTH_TOKEN).mint(sid(1), 1_900_000_000.0)
        for worker, shown in ((other, token), (mine, token[:-3] + "AAA"), (mine, of_the_account)):
            assert "not one of ours" in await refused(cluster, worker, shown, sid(1))
        assert "no token" in await refused(cluster, mine, None, sid(1))
        async with cluster.voice.obey(twiml, sid(1)) as (phone, _):
            await phone.say(times=4)
            await phone.listen(1)
            assert "used before" in await refused(cluster, mine, token, sid(1))


async def test_webhooks_without_twilio_s_signature_are_refused() -> None:
    async with local_cluster(ClusterOptions(workers=1)) as cluster, aiohttp.ClientSession() as http:
        for path in ("/twiml", "/twiml/next", "/status", "/transferred"):
            async with http.post(f"http://{cluster.address}{path}", data={"CallSid": sid(1)}) as answer:
                assert answer.status == 403, path


async def test_refusals_are_counted_at_the_gateways() -> None:
    """A full cluster used to refuse everybody while the counter that the alert reads stayed at 0."""
    of = settings(hooks=HookOptions(deny=("+44*",)), web=WebOptions(admin_port=0))
    async with local_cluster(ClusterOptions(workers=1, gateways=2), of) as cluster, AsyncExitStack() as calls:
        assert "rejected" in await cluster.voice.call_in(TWIML, sid(1), "+441234567890")
        async with aiohttp.ClientSession() as http:
            await http.post(f"http://{cluster.address}/twiml", data={"CallSid": sid(1)})
        for number in (2, 3):
            twiml = await cluster.voice.call_in(TWIML, sid(number))
            phone, _ = await calls.enter_async_context(cluster.voice.obey(twiml, sid(number)))
            await phone.say(times=4)
            await phone.listen(1)
        for number in range(4, 9):
            assert "busy" in await cluster.voice.call_in(TWIML, sid(number))
        for process in cluster.gateways():  # at any gateway
            await process.runs._ask_peers()
            assert by_cause(*process.runs.all_refusals().values()) == {"denied": 1, "unsigned": 1, "busy": 5}
            text = merged_metrics({}, {}, process.runs.all_refusals()).decode()
            assert refused_by(text) == {
                ("webhook", "denied"): 1,
                ("webhook", "unsigned"): 1,
                ("webhook", "busy"): 5,
            }
        told = json.loads((await get(cluster, "/healthz"))[1])
        assert told["refused"] == {"denied": 1, "unsigned": 1, "busy": 5}


async def test_an_overloaded_cluster_reports_it(monkeypatch: pytest.MonkeyPatch) -> None:
    overload = Refusal(RefusalCause.OVERLOAD, "timers came 90 ms late")

    async def reserve(_: Worker, __: str) -> Refusal:
        return overload

    async with local_cluster(ClusterOptions(workers=1)) as cluster:
        monkeypatch.setattr(Worker, "reserve", reserve)
        assert "busy" in await cluster.voice.call_in(TWIML, sid(1))
        process = cluster.gateways()[0]
        overloaded = ServerStatus(phase=Phase.READY, refusal="busy", load=LoadStatus(overloaded=True))
        # Once the gateway knows, it sends that worker no requests.
        process.runs.router.reports = {"w1": WorkerReport("w1", status=overloaded)}
        assert process.runs.router.no_session().cause is RefusalCause.OVERLOAD
        await process.runs._ask_peers()
        assert by_cause(*process.runs.all_refusals().values()) == {"overload": 1}


def refused_by(text: str) -> dict[tuple[str, str], float]:
    """Sum a scrape's refusals over all processes, without zeros."""
    counted = Counter[tuple[str, str]]()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "moshi_refusals_total":
                counted[sample.labels["where"], sample.labels["cause"]] += int(sample.value)
    return dict(+counted)


async def test_hooks_number_rules_and_limits_apply_at_the_gateway() -> None:
    async with hook(says('{"accept": true}')) as asked:
        of = settings(hooks=HookOptions(on_call=asked.url, deny=("+44*",), calls_per_caller_per_hour=2))
        async with local_cluster(ClusterOptions(workers=2), of) as cluster:
            assert "rejected" in await cluster.voice.call_in(TWIML, sid(1), "+441234567890")
            answers = [await cluster.voice.call_in(TWIML, sid(number)) for number in (2, 3, 4)]
            assert ["<Stream" in answer for answer in answers] == [True, True, False], "counted over all"
            assert [told["from"] for told in asked.told] == [CALLER, CALLER]


async def test_a_status_callback_reaches_the_gateway(logged: Logged) -> None:
    async with local_cluster(ClusterOptions(workers=1)) as cluster:
        status_url = f"{PUBLIC}/status"
        assert await cluster.voice.tell(status_url, sid(1), CallStatus="completed") == 204
        assert "completed" in logged.text


async def test_a_call_that_returns_from_a_transfer_keeps_its_caller() -> None:
    async with hook(says('{"transfer_to": "+15559990000"}')) as asked:
        of = settings(hooks=HookOptions(on_call=asked.url))
        async with local_cluster(ClusterOptions(workers=2), of) as cluster:
            twiml = await cluster.voice.call_in(TWIML, sid(1))
            old = cluster.worker(worker_of(twiml))._state
            assert old is not None
            async with cluster.voice.obey(twiml, sid(1)) as (phone, _):
                await phone.say(times=4)
                await phone.listen(1)
                (call,) = old.calls.running
                old.expected.add(sid(1), call.expected, old.clock())  # as a transfer does
            await old.calls.wait_until_idle()
            old.calls.closing = "draining"  # an update came in between
            await cluster.refresh()
            form = {"CallSid": sid(1), "DialCallStatus": "no-answer"}
            status, again = await cluster.voice.post(f"{PUBLIC}/transferred", form)
            assert status == 200
            new = cluster.worker(worker_of(again))._state
            assert new is not None
            assert new is not old
            assert new.expected.pop(sid(1), new.clock()).transfer_to == "+15559990000"
            form["DialCallStatus"] = "completed"
            assert "<Hangup" in (await cluster.voice.post(f"{PUBLIC}/transferred", form))[1]


async def test_the_page_the_metrics_and_the_calls_cover_all_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    async with local_cluster(ClusterOptions(workers=2)) as cluster, AsyncExitStack() as calls:
        assert (await get(cluster, "/calls"))[0] == 403, "off while the cluster is public"
        for gateway in cluster.gateways():
            monkeypatch.setattr(gateway.runs._address, "base", None)
            object.__setattr__(gateway.runs.dashboard_auth, "is_public", lambda: False)
        status, text = await get(cluster, "/calls")
        assert status == 200
        assert [one["name"] for one in json.loads(text)["workers"]] == ["w1", "w2"]
        async with aiohttp.ClientSession() as http:
            ready = []
            for _ in range(2):
                async with http.post(f"http://{cluster.address}/web/call") as answer:
                    ready.append(await answer.json())
            for call in ready:
                netloc = urlsplit(call["stream"]).netloc
                start = start_message(parameters={"token": call["token"]}, call_sid=call["callSid"])
                phone = await calls.enter_async_context(Phone.calling(cluster.voice._workers[netloc], start))
                await phone.say(times=4)
                await phone.listen(1)
            await cluster.refresh()
            listed = json.loads((await get(cluster, "/calls"))[1])["running"]
            assert {one["worker"] for one in listed} == {"w1", "w2"}
            whole = ready[0]["callSid"]
            assert json.loads((await get(cluster, f"/calls/{whole}"))[1])["name"] == whole[:10]
            assert (await get(cluster, f"/calls/{sid(77)}"))[0] == 404
            say = f"http://{cluster.address}/calls/{whole}/say"
            async with http.post(say, json={"text": "Hello."}) as answer:
                assert answer.status == 409, "a parrot cannot"
            _, metrics = await get(cluster, "/metrics")
            assert 'moshi_calls_running{worker="w1"} 1.0' in metrics
            assert 'moshi_workers{state="ready"} 2.0' in metrics
            async with http.get(f"http://{cluster.address}/") as page:
                assert "connect-src 'self' ws: wss:" in page.headers["Content-Security-Policy"]
            assert json.loads((await get(cluster, "/offers"))[1]) == {"personas": [], "voices": []}
