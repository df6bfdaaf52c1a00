"""``--number``: the number rings here while serve runs, and is restored afterwards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from moshi_phone.telephony.rest_errors import TwilioError
from moshi_phone.testing.engine import FakeEngine
from tests.commands.serving import Serving, options
from tests.fakes.cloudflared import URL, FakeCloudflared
from tests.fakes.twilio_api import NUMBER, FakeTwilioApi
from tests.fakes.twilio_voice import FakeTwilioVoice
from tests.support.logs import Logged
from tests.support.waiting import until

CALL = "CA" + "5" * 32


async def test_a_number_of_another_account_ends_it_before_anything_is_loaded(
    engine: FakeEngine, twilio: FakeTwilioApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "start", lambda _: pytest.fail("it was loaded"))
    serving = Serving(options(twilio, public_url="https://phone.example.com"), monkeypatch, "+15559999999")
    with pytest.raises(TwilioError, match="has no number that ends in 999"):
        await serving.task


async def test_a_number_that_does_not_ring_is_reported_with_the_reason(
    engine: FakeEngine, twilio: FakeTwilioApi, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    serving = Serving(options(twilio), monkeypatch, NUMBER)
    await logged.says("INFO +…006 does not ring here: start with --tunnel, or set PUBLIC_URL.")
    port = serving.address.partition(":")[2]
    assert f"INFO Talk to it: http://localhost:{port}\n" in logged.text
    await serving.signal()
    await serving.task


async def test_a_number_follows_the_tunnel_and_is_restored(
    engine: FakeEngine,
    twilio: FakeTwilioApi,
    cloudflared: FakeCloudflared,
    monkeypatch: pytest.MonkeyPatch,
    logged: Logged,
) -> None:
    monkeypatch.setattr("moshi_phone.runtime.tunnel.RESTART_DELAYS_SECS", (0.0,))
    cloudflared.ready_at_once = True
    serving = Serving(options(twilio, tunnel=True), monkeypatch, NUMBER)
    first = await cloudflared.runs.get()
    await logged.says("rings here now")
    cloudflared.ready_at_once = False
    await first.die(1)
    second = await cloudflared.runs.get()
    await second.be_ready("https://other-name.trycloudflare.com")
    await logged.says("Reached at https://other-name.trycloudflare.com")
    await serving.signal()  # during the change: the number is still restored
    await serving.task
    assert twilio.number["voice_url"] == ""


async def test_a_running_call_follows_the_tunnel(
    engine: FakeEngine,
    twilio: FakeTwilioApi,
    cloudflared: FakeCloudflared,
    monkeypatch: pytest.MonkeyPatch,
    logged: Logged,
) -> None:
    """The URL that Twilio would request is gone: the running call is redirected, and finds its session."""
    monkeypatch.setattr("moshi_phone.runtime.tunnel.RESTART_DELAYS_SECS", (0.0,))
    twilio.put_in_progress(CALL)
    cloudflared.ready_at_once = True
    serving = Serving(options(twilio, tunnel=True), monkeypatch, NUMBER)
    first = await cloudflared.runs.get()
    await logged.says("rings here now")
    voice = FakeTwilioVoice(URL, serving.address)
    async with voice.obey(await voice.call_in(f"{URL}/twiml", CALL), CALL) as (phone, _):
        await phone.say(times=4)
        await phone.listen(1)
        cloudflared.ready_at_once = False
        phone.socket.transport.abort()  # as each of its connections
        await first.die(1)
        second = await cloudflared.runs.get()
        voice.public = "https://other-name.trycloudflare.com"
        await second.be_ready(voice.public)

    def told() -> list[str]:
        updates = [update["Twiml"][0] for update in twilio.made("POST", f"Calls/{CALL}.json")]
        return [twiml for twiml in updates if f">{voice.public}/twiml/next?" in twiml]

    await until(told)
    async with voice.obey(told()[-1], CALL) as (phone, _):
        await phone.say(times=4)
        await phone.listen(1)
        assert (engine.opened, engine.running) == (1, 1)
        await phone.send({"event": "stop"})
        await phone.closed()
    await serving.signal()
    await serving.task


async def test_a_number_that_cannot_be_restored(
    engine: FakeEngine, twilio: FakeTwilioApi, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    monkeypatch.setattr("moshi_phone.telephony.rest_requests.RETRY_DELAYS_SECS", ())
    twilio.number["voice_url"] = "https://old.example.com"
    serving = Serving(options(twilio, public_url="https://phone.example.com"), monkeypatch, NUMBER)
    await logged.says("rings here now")
    twilio.fail(503, times=10)
    await serving.signal()
    assert await serving.task is False
    assert "ERROR +…006 still rings here" in logged.text


async def test_a_number_that_cannot_follow_the_tunnel_does_not_end_it(
    engine: FakeEngine,
    twilio: FakeTwilioApi,
    cloudflared: FakeCloudflared,
    monkeypatch: pytest.MonkeyPatch,
    logged: Logged,
) -> None:
    monkeypatch.setattr("moshi_phone.runtime.tunnel.RESTART_DELAYS_SECS", (0.0,))
    monkeypatch.setattr("moshi_phone.telephony.rest_requests.RETRY_DELAYS_SECS", ())
    cloudflared.ready_at_once = True
    serving = Serving(options(twilio, tunnel=True), monkeypatch, NUMBER)
    first = await cloudflared.runs.get()
    await logged.says("rings here now")
    cloudflared.ready_at_once = False
    twilio.fail(500, only="POST")
    await first.die(1)
    second = await cloudflared.runs.get()
    await second.be_ready("https://other-name.trycloudflare.com")
    await logged.says("(HTTP 500)")
    await serving.signal()
    await serving.task
    assert twilio.number["voice_url"] == ""


async def test_an_unavailable_api_does_not_prevent_the_start(
    engine: FakeEngine, twilio: FakeTwilioApi, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    """Webhooks of an earlier run's URL still arrive; the number is set once the API is available again."""
    monkeypatch.setattr("moshi_phone.telephony.rest_requests.RETRY_DELAYS_SECS", ())
    twilio.fail(503, None, times=100)
    serving = Serving(options(twilio, public_url="https://phone.example.com"), monkeypatch, NUMBER)
    await logged.says("Answering calls at")
    await logged.says("(HTTP 503)")
    twilio.failures.clear()
    await logged.says("rings here now")
    assert twilio.number["voice_url"] == "https://phone.example.com/twiml"
    await serving.signal()
    await serving.task
    assert twilio.number["voice_url"] == ""


async def test_a_late_refusal_of_the_api_is_reported(
    engine: FakeEngine, twilio: FakeTwilioApi, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    monkeypatch.setattr("moshi_phone.telephony.rest_requests.RETRY_DELAYS_SECS", ())
    twilio.fail(500)
    twilio.account_status = "suspended"
    made = options(twilio, public_url="https://phone.example.com")
    serving = Serving(made, monkeypatch)
    await logged.says("Cannot check the Twilio account now")
    await logged.says("refuses to check the Twilio account: the Twilio account is suspended")
    await serving.signal()
    await serving.task


async def test_invalid_credentials_end_the_start(
    engine: FakeEngine, twilio: FakeTwilioApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    twilio.account_status = "suspended"
    serving = Serving(options(twilio, public_url="https://phone.example.com"), monkeypatch)
    with pytest.raises(TwilioError, match="the Twilio account is suspended"):
        await serving.task


@pytest.mark.parametrize("number", [NUMBER, None])
async def test_a_trial_account_is_reported_at_the_start(
    number: str | None,
    engine: FakeEngine,
    twilio: FakeTwilioApi,
    monkeypatch: pytest.MonkeyPatch,
    logged: Logged,
) -> None:
    twilio.account_type = "Trial"
    serving = Serving(options(twilio, public_url="https://phone.example.com"), monkeypatch, number)
    await logged.says("Answering calls")
    assert "WARNING This is a trial account: Twilio blocks <Stream>" in logged.text
    assert "talk in the browser" in logged.text
    await serving.signal()
    await serving.task


async def test_a_public_url_of_another_server_is_reported(
    engine: FakeEngine, twilio: FakeTwilioApi, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    asked = list[str]()

    async def reaches(url: str, **_: object) -> bool:
        asked.append(url)
        return False

    monkeypatch.setattr("moshi_phone.server.lifecycle.reaches", reaches)
    serving = Serving(options(twilio, public_url="https://phone.example.com"), monkeypatch)
    await logged.says("WARNING https://phone.example.com/healthz does not lead to this program")
    assert asked == ["https://phone.example.com/healthz"]
    await serving.signal()
    await serving.task


async def test_calls_know_the_server_s_number(
    engine: FakeEngine, twilio: FakeTwilioApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the caller ID for callers who used a SIP domain, and have no number."""
    known: list[str | None] = []
    monkeypatch.setattr(
        "moshi_phone.commands.serve._say_where", lambda _, state, *__, **___: known.append(state.line_number)
    )
    serving = Serving(options(twilio, public_url="https://phone.example.com"), monkeypatch, NUMBER)
    await until(lambda: bool(known))
    assert known == [NUMBER]
    await serving.signal()
    await serving.task


async def test_all_given_numbers_and_those_of_personas_ring_here(
    engine: FakeEngine,
    twilio: FakeTwilioApi,
    monkeypatch: pytest.MonkeyPatch,
    logged: Logged,
    tmp_path: Path,
) -> None:
    twilio.numbers = [
        twilio.number | {"sid": f"PN{n:032x}", "phone_number": f"+1555000000{n}", "voice_url": ""}
        for n in range(3)
    ]
    (tmp_path / "personas.toml").write_text('[night]\nnumbers = ["+15550000002", "+15551234567"]\n')
    made = options(twilio, public_url="https://phone.example.com")
    made = replace(made, engine=replace(made.engine, personas=tmp_path / "personas.toml"))
    serving = Serving(made, monkeypatch, "+15550000000", "+1 555 000 0001")
    ours = {"https://phone.example.com/twiml"}
    await until(lambda: {one["voice_url"] for one in twilio.numbers} == ours)
    await serving.signal()
    await serving.task
    assert {one["voice_url"] for one in twilio.numbers} == {""}
