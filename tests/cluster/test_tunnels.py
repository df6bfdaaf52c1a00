"""A cluster with ``--tunnel``: the gateways share one URL, and each worker has its own."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

import moshi_phone.cluster.manager as manager_module
from moshi_phone.cluster.gateway import PORT
from moshi_phone.cluster.lifecycle import cluster_running
from moshi_phone.cluster.manager import Manager
from moshi_phone.cluster.options import ClusterOptions
from moshi_phone.commands.pointing import pointer_for
from moshi_phone.runtime.stop_signals import StopSignals
from moshi_phone.server.lifecycle import listen
from moshi_phone.telephony.options import ReachOptions, TwilioOptions
from tests.cluster.local_cluster import LocalRuntime, settings
from tests.fakes.cloudflared import FakeCloudflared
from tests.fakes.twilio_api import ACCOUNT_SID, AUTH_TOKEN, NUMBER, FakeTwilioApi
from tests.fakes.twilio_voice import FakeTwilioVoice

GATEWAY = "https://front-gateway.trycloudflare.com"


async def test_webhooks_go_to_the_gateways_and_streams_to_the_workers(
    twilio: FakeTwilioApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    of = replace(
        settings(),
        reach=ReachOptions(tunnel=True, tunnel_wait_secs=0.0),
        twilio=TwilioOptions(ACCOUNT_SID, AUTH_TOKEN, twilio.url),
    )
    runtime, stop, begun = LocalRuntime(of), StopSignals(), asyncio.Event()
    manager = Manager(runtime, of, ClusterOptions(workers=2))
    workers = dict[str, str]()

    async def run() -> None:
        with listen(of.server.host, of.server.port) as held:
            pointer = pointer_for(of, [NUMBER])
            async with cluster_running(manager, of, stop, {PORT: held}, control_port=0, pointer=pointer):
                begun.set()
                await stop.stop_requested.wait()
            assert pointer is not None
            await pointer.restore()

    monkeypatch.setattr(manager_module, "STEP_SECS", 0.1)
    monkeypatch.setenv("PATH", str(tmp_path))
    async with FakeCloudflared(tmp_path) as cloudflared:
        running = asyncio.create_task(run())
        for number in (1, 2, 3):
            opened = await cloudflared.runs.get()
            local = opened.argv[opened.argv.index("--url") + 1].removeprefix("http://")
            is_gateway = local.endswith(f":{of.server.port}")
            assert is_gateway == (number == 3), "the workers first: who calls finds somebody"
            name = f"worker-{number}.trycloudflare.com"
            if not is_gateway:
                workers[name] = local
            await opened.be_ready(GATEWAY if is_gateway else f"https://{name}")
        await begun.wait()
        assert twilio.number["voice_url"] == f"{GATEWAY}/twiml"
        voice = FakeTwilioVoice(GATEWAY, f"127.0.0.1:{of.server.port}", workers)
        twiml = await voice.call_in(f"{GATEWAY}/twiml", f"CA{1:032x}")
        async with voice.obey(twiml, f"CA{1:032x}") as (phone, status_url):
            assert status_url == f"{GATEWAY}/status"
            await phone.say(times=4)
            await phone.listen(1)
        stop.receive()
        await asyncio.wait_for(running, 20)
    await runtime.ended()
