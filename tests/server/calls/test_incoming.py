"""server/calls/incoming.py over real sockets: which callers are accepted, and the hooks' requests and
answers.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from moshi_phone.access.auth import StreamAuth
from moshi_phone.access.public_address import PublicAddress
from moshi_phone.engines.duplex import NO_OVERRIDES, CallOverrides
from moshi_phone.hooks.http import Hook, is_signed
from moshi_phone.hooks.options import HookOptions
from moshi_phone.hooks.outbox import Outbox
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.settings import Settings
from moshi_phone.testing.engine import FakeEngine, FakeSession
from tests.fakes.hook import hook, says
from tests.fakes.twilio_api import AUTH_TOKEN
from tests.fakes.twilio_voice import CALLER, FakeTwilioVoice, Rejected
from tests.support.logs import Logged
from tests.support.phone import serving

PUBLIC = "https://phone.example.com"
CALL = "CA" + "1" * 32
LOUD = bytes([0x10, 0x90] * 80)


class AskedEngine(FakeEngine):
    """Records the requests of its calls; has one voice."""

    supported_overrides = frozenset({"persona", "voice"})

    def __init__(self) -> None:
        super().__init__(capacity=1)
        self.prepared: list[CallOverrides] = []
        self.requests: list[CallOverrides] = []

    def prepare(self, request: CallOverrides) -> None:
        super().prepare(request)
        self.prepared.append(request)

    def open_session(self, request: CallOverrides = NO_OVERRIDES) -> FakeSession:
        self.requests.append(request)
        return super().open_session(request)


@asynccontextmanager
async def line(**options: object) -> AsyncIterator[tuple[FakeTwilioVoice, AskedEngine, ServerState]]:
    """A server with hooks, and Twilio in front of it."""
    engine = AskedEngine()
    state = ServerState(
        engine,
        Settings(hooks=HookOptions(**options)),  # type: ignore[arg-type]
        auth=StreamAuth.for_account(AUTH_TOKEN, PublicAddress(PUBLIC)),
    )
    async with serving(state) as address:
        yield FakeTwilioVoice(PUBLIC, address), engine, state


async def rings(voice: FakeTwilioVoice, caller: str = CALLER, call_sid: str = CALL) -> str:
    """Call, and hang up again; return the reason of a refusal, or an empty string."""
    twiml = await voice.call_in(f"{PUBLIC}/twiml", call_sid, caller)
    try:
        async with voice.obey(twiml, call_sid) as (phone, _):
            await phone.say(LOUD, times=8)
            await phone.listen(1)
            await phone.send({"event": "stop"})
            await phone.closed()
    except Rejected as rejected:
        return str(rejected)
    return ""


async def test_the_hook_selects_the_persona() -> None:
    answer = json.dumps({"persona": "You are Anna.", "voice": "NATF2"})
    async with (
        hook(says(answer)) as asked,
        line(on_call=asked.url, hook_secret="whsec") as (voice, engine, _),
    ):
        assert await rings(voice) == ""
        assert await rings(voice, call_sid="CA" + "2" * 32) == ""
    request = CallOverrides(persona="You are Anna.", voice="NATF2")
    assert engine.prepared == engine.requests == [request, request]
    assert [told["from"] for told in asked.told] == [CALLER, CALLER]
    assert asked.told[0]["parameters"]["CallStatus"] == "ringing"
    assert is_signed(asked.signatures[0] or "", asked.bodies[0], "whsec", int(time.time()))


async def test_a_request_of_one_call_does_not_apply_to_the_next() -> None:
    answers = iter(['{"persona": "You are Anna."}', "{}"])

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=next(answers))

    async with hook(answer) as asked, line(on_call=asked.url) as (voice, engine, _):
        await rings(voice)
        await rings(voice)  # the very same call, its stream broken off and made again
    assert engine.requests == [CallOverrides(persona="You are Anna."), NO_OVERRIDES]


async def test_the_hook_refuses(logged: Logged) -> None:
    async with hook(says('{"accept": false}')) as asked, line(on_call=asked.url) as (voice, engine, state):
        assert await rings(voice) == "rejected"
        assert state.reservations.count(state.clock(), besides="") == 0, "the next caller finds it free"
    assert engine.opened == 0
    assert CALLER not in logged.text


async def test_the_hook_is_not_called_without_a_free_session() -> None:
    async with hook(says()) as asked, line(on_call=asked.url) as (voice, _, __):
        twiml = await voice.call_in(f"{PUBLIC}/twiml", CALL)
        async with voice.obey(twiml, CALL) as (phone, _status):
            await phone.say(LOUD, times=4)
            await phone.listen(1)
            assert await rings(voice, call_sid="CA" + "2" * 32) == "busy"
    assert len(asked.told) == 1


async def hang(_: web.Request) -> web.Response:
    await asyncio.sleep(60)
    return web.Response()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (says("nonsense"), "expected JSON, got something else"),
        (says(status=500), "it answers 500"),
        (says(status=307, Location="http://127.0.0.1:9/"), "it answers 307"),
        (says("x" * 10_000_000), "it answers with more than 65536 bytes"),
        (hang, "it does not answer in 0.1 s"),
        (says('{"greeting": "Hello."}'), "The engine fake takes no greeting for a call; leave it out."),
    ],
)
@pytest.mark.parametrize("policy", ["accept", "reject"])
async def test_if_the_hook_fails_the_option_decides(
    answer: object, why: str, policy: str, logged: Logged
) -> None:
    async with (
        hook(answer) as asked,  # type: ignore[arg-type]
        line(on_call=asked.url, on_call_failure=policy) as (voice, engine, state),
    ):
        state.on_call = Hook(asked.url, limit_secs=0.1 if answer is hang else 2.0)
        assert await rings(voice) == ("" if policy == "accept" else "rejected")
    assert engine.requests == ([NO_OVERRIDES] if policy == "accept" else [])
    assert f"--on-call failed: {why}" in logged.text


async def test_denied_numbers() -> None:
    async with line(deny=("+1555*",), calls_per_caller_per_hour=1) as (voice, engine, _):
        assert await rings(voice) == "rejected"
        assert await rings(voice, "+41441234567") == ""
        assert await rings(voice, "+41441234567", "CA" + "2" * 32) == "rejected"
        assert await rings(voice, "anonymous", "CA" + "3" * 32) == ""
    assert engine.opened == 2


@pytest.mark.parametrize(
    "spelling",
    [
        CALLER,
        CALLER[1:],
        f" {CALLER[1:]}",
        f"whatsapp:{CALLER}",
        "+1 555 123 4567",
        f"sip:{CALLER}@pbx.example.com",
    ],
)
async def test_a_denied_number_is_denied_in_any_spelling(spelling: str) -> None:
    async with line(deny=("+1555*",)) as (voice, engine, _):
        assert await rings(voice, spelling) == "rejected"
    assert engine.opened == 0


async def test_callers_with_hidden_numbers_share_one_limit() -> None:
    async with line(calls_per_caller_per_hour=2) as (voice, _, __):
        spellings = ("anonymous", "Restricted", "+266696687", "", "sip:anonymous@anonymous.invalid")
        heard = [await rings(voice, who, f"CA{n:032x}") for n, who in enumerate(spellings)]
    assert heard == ["", "", "rejected", "rejected", "rejected"]


async def test_hidden_numbers_can_be_denied() -> None:
    async with line(deny=("anonymous",)) as (voice, engine, _):
        assert await rings(voice, "+2562533") == "rejected"
        assert await rings(voice, CALLER, "CA" + "2" * 32) == ""
    assert engine.opened == 1


async def test_the_hook_gets_one_spelling() -> None:
    async with hook(says()) as asked, line(on_call=asked.url) as (voice, _, __):
        await rings(voice, f"whatsapp:{CALLER}")
    assert (asked.told[0]["from"], asked.told[0]["parameters"]["Caller"]) == (CALLER, f"whatsapp:{CALLER}")


@pytest.mark.parametrize("status", ["completed", "busy", "no-answer", "failed", "canceled", "Completed"])
async def test_a_status_callback_is_not_a_new_call(status: str) -> None:
    """The console may have the same URL for calls and for status changes."""
    async with line() as (voice, engine, state):
        await voice.call_in(f"{PUBLIC}/twiml", CALL)
        form = {
            "AccountSid": "AC1",
            "CallSid": CALL,
            "CallStatus": status,
            "From": CALLER,
            "To": "+15005550006",
        }
        answered = await voice.post(f"{PUBLIC}/twiml", form)
        assert state.reservations.count(state.clock(), besides="") == 0, "and the next caller finds it free"
    assert answered == (200, '<?xml version="1.0" encoding="UTF-8"?><Response />')
    assert engine.opened == 0


async def test_a_repeated_webhook_counts_once() -> None:
    async with line(calls_per_caller_per_hour=1) as (voice, _, __):
        await voice.call_in(f"{PUBLIC}/twiml", CALL)
        assert await rings(voice) == ""


async def test_on_end_gets_a_report_of_the_call(tmp_path: Path, logged: Logged) -> None:
    async with hook(says(status=204)) as told, line() as (voice, _, state):
        state.outbox = Outbox(Hook(told.url, "whsec", clock=lambda: 1_800_000_000.0), tmp_path)
        state.outbox.start()
        await rings(voice)
        await state.calls.wait_until_idle()
        await state.outbox.stop()
    (report,) = told.told
    assert is_signed(told.signatures[0] or "", told.bodies[0], "whsec", 1_800_000_000)
    assert report["call_sid"] == CALL
    assert (report["from"], report["direction"]) == (CALLER, "inbound")
    assert (report["event"], report["reason"], report["engine"]) == ("end", "the caller hung up", "fake")
    assert report["metrics"]["frames"] >= 1
    assert report["words"][0]["text"].startswith("1")
    assert report["began_at"] <= report["ended_at"]
    assert report["files"] == {}
    assert CALLER not in logged.text


async def test_a_call_without_a_stream_is_logged_with_likely_causes(
    monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    monkeypatch.setattr("moshi_phone.server.calls.answering.STREAM_SECS", 0.3)
    async with line() as (voice, _, __):
        await rings(voice)  # the audio comes at once
        await asyncio.sleep(0.4)
        assert "no audio has come" not in logged.text
        await voice.call_in(f"{PUBLIC}/twiml", "CA" + "2" * 32)
        await logged.says("no audio has come")
        await voice.tell(f"{PUBLIC}/status", "CA" + "2" * 32, CallStatus="completed")
        await voice.call_in(f"{PUBLIC}/twiml", "CA" + "3" * 32)
        await voice.tell(f"{PUBLIC}/status", "CA" + "3" * 32, CallStatus="completed")  # the caller hung up
        await asyncio.sleep(0.4)
    assert "WARNING CA22222222 The call was answered 0.3 s ago" in logged.text
    assert "wss://phone.example.com/stream" in logged.text
    assert logged.text.count("no audio has come") == 1
