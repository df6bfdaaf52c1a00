"""telephony/dialling.py: a call from dialling to its end, with Twilio's real client and a fake API."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from moshi_phone.access.tokens import StreamTokens
from moshi_phone.runtime.stop_signals import StopSignals
from moshi_phone.telephony import dialling
from moshi_phone.telephony.dialling import CallPlan, Dialler
from moshi_phone.telephony.rest import TwilioApi
from moshi_phone.telephony.rest_errors import TwilioError
from tests.fakes.twilio_api import ACCOUNT_SID, AUTH_TOKEN, NUMBER, FakeTwilioApi
from tests.support.fake_sleep import Naps

PLAN = CallPlan("+15551234567", NUMBER, "wss://phone.example.com/stream", "https://phone.example.com/status")
SID = "CA" + "0" * 32
NOW = 1_800_000_000.0


class Call:
    """A dialler, and its messages."""

    def __init__(self, twilio: FakeTwilioApi) -> None:
        self.said: list[str] = []
        self.stop = StopSignals()
        self.naps = Naps()
        api = TwilioApi(ACCOUNT_SID, AUTH_TOKEN, twilio.url, self.naps)
        self.dialler = Dialler(api, self.stop, self.say, sleep=self.naps)

    def say(self, line: str) -> None:
        self.said.append(line)
        if line == self.stops_at:
            self.stop.receive()

    stops_at = ""

    async def dial(self, plan: CallPlan = PLAN) -> str:
        return (await self.dialler.dial(plan, plan.twiml(StreamTokens.from_auth_token("x"), NOW))).status


@pytest.fixture
def call(twilio: FakeTwilioApi) -> Call:
    return Call(twilio)


async def test_a_call_that_is_answered(call: Call, twilio: FakeTwilioApi) -> None:
    twilio.progress = ["queued", "queued", "ringing", "ringing", "in-progress", "completed"]
    assert await call.dial() == "completed"
    assert call.said == ["queued", "ringing", "in progress", "completed after 42 s"]
    assert call.naps.secs == [1.0] * 5
    (form,) = twilio.made("POST", "Calls.json")
    assert (form["To"], form["From"]) == ([PLAN.to], [NUMBER])
    assert (form["Timeout"], form["TimeLimit"]) == (["30"], ["3600"])
    assert form["StatusCallback"] == ["https://phone.example.com/status"]
    assert 'url="wss://phone.example.com/stream"' in form["Twiml"][0]
    assert [one.method for one in twilio.requests[1:]] == ["GET"] * 5  # neither side hung up


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("busy", "busy: the line was taken, or the call was declined"),
        ("no-answer", "no answer"),
        ("failed", "failed: Twilio could not connect it; is it a number that can be called?"),
        ("canceled", "canceled before it was answered"),
    ],
)
async def test_a_call_that_is_not_answered(
    call: Call, twilio: FakeTwilioApi, status: str, words: str
) -> None:
    twilio.progress = ["queued", "ringing", status]
    assert await call.dial() == status
    assert call.said == ["queued", "ringing", words]


@pytest.mark.parametrize(
    ("at", "ends"), [("queued", "canceled"), ("ringing", "canceled"), ("in progress", "completed")]
)
async def test_ctrl_c_hangs_up(call: Call, twilio: FakeTwilioApi, at: str, ends: str) -> None:
    twilio.progress = ["queued", "ringing", "in-progress"]
    call.stops_at = at
    assert await call.dial() == ends
    assert call.said[call.said.index(at) + 1] == "hanging up"
    assert twilio.made("POST", f"Calls/{SID}.json") == [{"Status": ["completed"]}]


async def test_ctrl_c_while_the_call_is_being_placed(call: Call, twilio: FakeTwilioApi) -> None:
    """The request is in flight: the call will be placed, and must not be left running."""
    twilio.progress = ["queued"]
    dialling = asyncio.create_task(call.dial())
    await asyncio.sleep(0)
    dialling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dialling
    assert twilio.calls[SID]["status"] == "canceled"


async def test_a_second_ctrl_c_does_not_wait(
    call: Call, twilio: FakeTwilioApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twilio cannot hang up now; retries would continue for a while."""
    monkeypatch.setattr(dialling, "FORCED_SECS", 0.0)
    twilio.progress = ["in-progress"]
    twilio.fail(500, times=1000, only=f"POST /2010-04-01/Accounts/{ACCOUNT_SID}/Calls/{SID}")
    call.stops_at = "in progress"

    async def insist(_: float) -> None:
        call.stop.receive()
        await asyncio.Event().wait()

    call.dialler.api = TwilioApi(ACCOUNT_SID, AUTH_TOKEN, twilio.url, insist)
    assert await call.dial() == "in-progress"
    assert call.said[-1] == "the call may still be running: see https://console.twilio.com"


async def test_a_status_callback_triggers_a_request_at_once(call: Call, twilio: FakeTwilioApi) -> None:
    twilio.progress = ["queued", "completed"]

    async def for_ever(_: float) -> None:
        await asyncio.Event().wait()

    call.dialler.sleep = for_ever
    call.dialler.news.set()
    assert await call.dial() == "completed"


async def test_a_call_that_cannot_be_placed(call: Call, twilio: FakeTwilioApi) -> None:
    with pytest.raises(TwilioError, match="check its country code"):
        await call.dial(replace(PLAN, to="+1"))
    assert call.said == []
    assert len(twilio.requests) == 1


async def test_twilio_is_unavailable_for_a_while(call: Call, twilio: FakeTwilioApi) -> None:
    twilio.progress = ["queued", "completed"]
    twilio.fail(503, times=3, only="GET")
    assert await call.dial() == "completed"
    assert call.said == ["queued", "completed after 42 s"]


async def test_twilio_stays_unavailable(call: Call, twilio: FakeTwilioApi) -> None:
    twilio.progress = ["in-progress"]
    twilio.fail(503, times=1000, only="GET")
    with pytest.raises(TwilioError, match="an error of its own"):
        await call.dial()
    assert twilio.calls[SID]["status"] == "completed"  # hung up, because its status is unknown from now on


def test_the_token_is_valid_as_long_as_the_phone_may_ring() -> None:
    tokens = StreamTokens.from_auth_token("x")
    plan = replace(PLAN, ring_secs=600)
    token = plan.twiml(tokens, NOW).partition('value="')[2].partition('"')[0]
    tokens.spend(token, SID, NOW + 600 + 5 + 59)


def test_the_repr_of_a_plan_contains_no_numbers() -> None:
    assert PLAN.to not in repr(PLAN)
    assert NUMBER not in repr(PLAN)
