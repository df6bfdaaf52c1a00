"""commands/serve.py: how it starts, and how it ends."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from twilio.request_validator import RequestValidator

from bot import run_call
from moshi_phone.engines.choose import EngineChoice
from moshi_phone.engines.duplex import Progress
from moshi_phone.runtime.stop_signals import REPEAT_SECS, StopSignals
from moshi_phone.runtime.tunnel import TunnelFailed
from moshi_phone.server import lifecycle as running
from moshi_phone.server.options import ServerOptions
from moshi_phone.server.settings import Settings
from moshi_phone.server.web.health import ENGINE_ERROR
from moshi_phone.telephony.options import TwilioOptions
from moshi_phone.telephony.rest_errors import TwilioError
from moshi_phone.testing.engine import FakeEngine
from tests.commands.serving import Serving, options
from tests.fakes.cloudflared import FakeCloudflared
from tests.fakes.twilio_api import ACCOUNT_SID, AUTH_TOKEN, NUMBER, FakeTwilioApi
from tests.support.logs import Logged
from tests.support.phone import Phone, start_message

LOUD = bytes([0x10, 0x90] * 80)


@pytest.mark.parametrize("how", ["limit", "second signal"])
async def test_a_call_that_does_not_finish_is_hung_up(
    how: str, engine: FakeEngine, twilio: FakeTwilioApi, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    made = replace(options(twilio), twilio=TwilioOptions())
    made = replace(made, server=replace(made.server, drain_secs=0.0 if how == "limit" else 1000.0))
    serving = Serving(made, monkeypatch)
    await logged.says("Answering calls")
    async with Phone.calling(serving.address, start_message()) as phone:
        await phone.say(LOUD, times=4)
        await phone.listen(1)
        await serving.signal()
        await logged.says("No new calls; 1 running may finish")
        if how == "second signal":
            await asyncio.sleep(REPEAT_SECS)
            await serving.signal()
        assert await phone.closed() == (1000, "the line is shutting down")
    await serving.task
    assert "Hanging up 1." in logged.text
    assert engine.running == 0
    assert engine.error  # it was stopped


async def test_a_signal_while_the_engine_loads_ends_it(
    twilio: FakeTwilioApi, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    class Slow(FakeEngine):
        stopped = False

        async def start(self, progress: Progress) -> None:
            progress("Loading.")
            await asyncio.Event().wait()

        async def stop(self) -> None:
            self.stopped = True

    slow = Slow()
    monkeypatch.setattr(running, "create_engine", lambda _: EngineChoice(slow, "slow"))
    serving = Serving(options(twilio, public_url="https://phone.example.com"), monkeypatch, NUMBER)
    await logged.says("Loading.")
    await serving.signal()
    await serving.task
    assert slow.stopped
    assert twilio.made("POST", "") == []


async def test_a_signal_while_the_tunnel_opens_ends_it(
    engine: FakeEngine,
    twilio: FakeTwilioApi,
    cloudflared: FakeCloudflared,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    serving = Serving(options(twilio, tunnel=True), monkeypatch, NUMBER)
    run = await cloudflared.runs.get()
    await serving.signal()
    await serving.task
    assert await run.told() == {"sigterm": True}
    assert twilio.made("POST", "") == []


async def test_a_failing_tunnel_ends_it(
    engine: FakeEngine,
    twilio: FakeTwilioApi,
    cloudflared: FakeCloudflared,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    serving = Serving(options(twilio, tunnel=True), monkeypatch)
    run = await cloudflared.runs.get()
    await run.die(1)
    with pytest.raises(TunnelFailed, match="cloudflared ended with code 1"):
        await serving.task
    assert engine.error


async def test_wrong_credentials_end_it_before_anything_is_loaded(
    engine: FakeEngine, twilio: FakeTwilioApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "start", lambda _: pytest.fail("it was loaded"))
    for number in (NUMBER, None):
        made = options(twilio, public_url="https://phone.example.com")
        made = replace(made, twilio=TwilioOptions(ACCOUNT_SID, "0" * 32, twilio.url))
        serving = Serving(made, monkeypatch, number)
        with pytest.raises(
            TwilioError, match=r"^Twilio refused the credentials: check TWILIO_ACCOUNT_SID and"
        ):
            await serving.task


async def test_a_missing_cloudflared_ends_it_before_anything_is_loaded(
    engine: FakeEngine, twilio: FakeTwilioApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(engine, "start", lambda _: pytest.fail("it was loaded"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TunnelFailed, match="cloudflared is not installed"):
        await Serving(options(twilio, tunnel=True), monkeypatch).task


async def test_the_page_s_url_is_not_printed_if_the_page_is_off(
    engine: FakeEngine, twilio: FakeTwilioApi, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    serving = Serving(options(twilio, public_url="https://phone.example.com"), monkeypatch)
    await logged.says("A number rings here when its voice URL is https://phone.example.com/twiml")
    assert "Talk to it" not in logged.text
    await serving.signal()
    await serving.task


async def test_healthz_is_503_while_the_engine_loads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class SlowEngine(FakeEngine):
        """Becomes ready when the test releases it."""

        loaded = asyncio.Event()

        async def start(self, progress: Progress) -> None:
            progress("1 of 2 GB")
            await self.loaded.wait()
            await super().start(progress)

    engine = SlowEngine()
    monkeypatch.setattr(running, "create_engine", lambda _: EngineChoice(engine, "slow"))
    listener = running.listen("127.0.0.1", 0)
    base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    made = Settings(server=ServerOptions(port=0))
    ready = asyncio.Event()
    over = asyncio.Event()

    async def serve() -> None:
        async with running.running_server(listener, StopSignals(), made, run_call):
            ready.set()
            await over.wait()

    listener.listen()
    serving = asyncio.create_task(serve())
    async with httpx.AsyncClient(base_url=base_url) as client:
        loading = await client.get("/healthz")
        assert (loading.status_code, loading.json()["error"]) == (503, ENGINE_ERROR)
        told = (await client.get("/calls")).json()
        assert (told["state"], told["progress"], told["engine_reason"]) == ("loading", "1 of 2 GB", "slow")
        engine.loaded.set()
        await ready.wait()
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/calls")).json()["state"] == "ready"
    over.set()
    await serving


async def test_streams_have_their_own_url_and_webhooks_a_shared_one(
    engine: FakeEngine, twilio: FakeTwilioApi
) -> None:
    made = options(
        twilio, public_url="phone.example.com", stream_url="wss://phone.example.com/pods/10.0.0.7/"
    )
    made.check()
    listener = running.listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    form = {"CallSid": "CA" + "1" * 32, "From": "+15551234567", "To": NUMBER}
    async with running.running_server(listener, StopSignals(), made, run_call), httpx.AsyncClient() as http:

        async def ask(signed_for: str) -> httpx.Response:
            signature = RequestValidator(AUTH_TOKEN).compute_signature(signed_for, form)
            headers = {"X-Twilio-Signature": signature}
            return await http.post(f"http://127.0.0.1:{port}/twiml", data=form, headers=headers)

        answer = await ask("https://phone.example.com/twiml")
        assert 'url="wss://phone.example.com/pods/10.0.0.7/stream"' in answer.text
        assert 'statusCallback="https://phone.example.com/status"' in answer.text
        assert (await ask("https://phone.example.com/pods/10.0.0.7/twiml")).status_code == 403
