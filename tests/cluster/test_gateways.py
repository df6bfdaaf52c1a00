"""cluster/gateways.py with real gateways on real sockets: no webhook is lost when a gateway fails."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp import web

from moshi_phone.cluster.gateway import ClusterView
from moshi_phone.cluster.options import ClusterOptions
from moshi_phone.hooks.options import HookOptions
from tests.cluster.local_cluster import PUBLIC, local_cluster, settings
from tests.fakes.hook import hook

TWIML = f"{PUBLIC}/twiml"


async def test_an_update_during_a_settings_change_closes_no_gateway_before_its_successor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sending the settings takes long while a gateway restarts after its death."""
    async with local_cluster(ClusterOptions(workers=1)) as cluster:
        telling, go_on = asyncio.Event(), asyncio.Event()
        slow = cluster.gateways()[0].runs
        update_view = slow.update_view

        async def look_slowly(view: ClusterView) -> None:
            telling.set()
            await go_on.wait()
            await update_view(view)

        monkeypatch.setattr(slow, "update_view", look_slowly)
        step = asyncio.create_task(cluster.manager.step())
        await telling.wait()
        cluster.manager.update()
        go_on.set()
        await step
        assert len(cluster.gateways()) == 2, "the old ones: new ones are not there yet"
        await cluster.step_until(lambda: cluster.manager.status()["gateways"] == ["d3", "d4"])


async def test_an_update_answers_pending_requests_of_old_gateways() -> None:
    """A hook may take some seconds; the caller of that webhook would hear an error."""
    go_on = asyncio.Event()

    async def slowly(_: web.Request) -> web.Response:
        await go_on.wait()
        return web.json_response({"accept": True})

    async with hook(slowly) as asked:
        of = settings(hooks=HookOptions(on_call=asked.url))
        async with local_cluster(ClusterOptions(workers=1), of) as cluster:
            asking = asyncio.create_task(cluster.voice.call_in(TWIML, f"CA{1:032x}"))
            while not asked.told:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            cluster.manager.update()
            await cluster.step_until(lambda: {"d3", "d4"} < set(cluster.manager.status()["gateways"]))
            for _ in range(3):
                await cluster.manager.step()
                await asyncio.sleep(
                    0.5
                )  # longer than a second in all, which an ordinary server waits at its end
            go_on.set()
            assert "<Stream" in await asking
            await cluster.step_until(lambda: cluster.manager.status()["gateways"] == ["d3", "d4"])


async def test_a_keep_alive_connection_is_answered_and_then_closed() -> None:
    """As a tunnel or a proxy uses it: the next request goes to a new gateway, and none is cut."""
    async with local_cluster(ClusterOptions(workers=1)) as cluster, aiohttp.ClientSession() as http:
        url = f"http://{cluster.address}/healthz"
        async with http.get(url) as answer:
            assert "close" not in answer.headers.get("Connection", "")
        cluster.manager.update()
        await cluster.step_until(lambda: {"d3", "d4"} < set(cluster.manager.status()["gateways"]))
        await cluster.step_until(lambda: any(one.runs._leaves for one in cluster.gateways()))
        async with http.get(url) as answer:
            assert answer.headers["Connection"] == "close"
        await cluster.step_until(lambda: cluster.manager.status()["gateways"] == ["d3", "d4"])
        async with http.get(url) as answer:
            assert answer.status == 200


async def test_a_request_waits_while_no_gateway_runs() -> None:
    async with local_cluster(ClusterOptions(workers=1)) as cluster:
        for gateway in cluster.gateways():
            gateway.alive = False
            await gateway.runs.stop()
        asking = asyncio.create_task(cluster.voice.call_in(TWIML, f"CA{1:032x}"))
        await asyncio.sleep(0.2)
        for gateway in cluster.runtime.processes.values():
            if gateway.runs.name.startswith("d"):
                cluster.runtime.kill(gateway, again=True)  # Ray starts them again
        await cluster.step_until(asking.done)
        assert "<Stream" in asking.result()
