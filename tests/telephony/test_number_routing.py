"""telephony/number_routing.py: a number rings here for a while, and then as it did before."""

from __future__ import annotations

import asyncio

import pytest

from telephony.number_routing import NumberPointer
from telephony.rest import TwilioApi, VoiceSettings
from telephony.rest_errors import TwilioError
from tests.fakes.twilio_api import ACCOUNT_SID, AUTH_TOKEN, NUMBER, NUMBER_SID, FakeTwilioApi
from tests.naps import Naps

OURS = "https://fast-red-fox-runs.trycloudflare.com/twiml"
NEXT = "https://slow-blue-whale-swims.trycloudflare.com/twiml"
BEFORE = "https://old.example.com/voice"
PATH = f"IncomingPhoneNumbers/{NUMBER_SID}.json"


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def pointer(twilio: FakeTwilioApi, said: list[str]) -> NumberPointer:
    twilio.number.update(voice_url=BEFORE, voice_method="GET")
    return NumberPointer(TwilioApi(ACCOUNT_SID, AUTH_TOKEN, twilio.url, Naps()), NUMBER, said.append)


async def test_there_and_back(pointer: NumberPointer, twilio: FakeTwilioApi, said: list[str]) -> None:
    await pointer.point(OURS)
    assert (twilio.number["voice_url"], twilio.number["voice_method"]) == (OURS, "POST")
    await pointer.put_back()
    assert (twilio.number["voice_url"], twilio.number["voice_method"]) == (BEFORE, "GET")
    assert said == [
        "+…006 rings here now; before, it went to https://old.example.com/voice.",
        "+…006 goes to https://old.example.com/voice again.",
    ]
    assert twilio.made("POST", PATH) == [
        {"VoiceUrl": [OURS], "VoiceMethod": ["POST"], "VoiceApplicationSid": [""]},
        {"VoiceUrl": [BEFORE], "VoiceMethod": ["GET"], "VoiceApplicationSid": [""]},
    ]
    await pointer.put_back()
    assert len(twilio.made("POST", PATH)) == 2


async def test_a_tunnel_that_was_opened_again(
    pointer: NumberPointer, twilio: FakeTwilioApi, said: list[str]
) -> None:
    await pointer.point(OURS)
    await pointer.point(NEXT)
    assert twilio.number["voice_url"] == NEXT
    await pointer.put_back()
    assert twilio.number["voice_url"] == BEFORE
    await pointer.point(NEXT)  # the tunnel goes on while the last calls finish
    assert twilio.number["voice_url"] == BEFORE


async def test_a_number_that_went_nowhere(
    pointer: NumberPointer, twilio: FakeTwilioApi, said: list[str]
) -> None:
    twilio.number.update(voice_url=None)
    await pointer.point(OURS)
    await pointer.put_back()
    assert twilio.number["voice_url"] == ""
    assert "before, it went to nowhere." in said[0]


async def test_a_number_with_an_application(
    pointer: NumberPointer, twilio: FakeTwilioApi, said: list[str]
) -> None:
    """As long as it has one, Twilio does not look at its voice URL."""
    twilio.number.update(voice_application_sid="AP1")
    await pointer.point(OURS)
    assert twilio.number["voice_application_sid"] == ""
    await pointer.put_back()
    assert (twilio.number["voice_application_sid"], twilio.number["voice_url"]) == ("AP1", BEFORE)
    assert said[-1] == "+…006 goes to AP1 again."


async def test_a_number_of_a_trunk(pointer: NumberPointer, twilio: FakeTwilioApi) -> None:
    twilio.number.update(trunk_sid="TK1")
    with pytest.raises(TwilioError, match=r"\+…006 belongs to a SIP trunk, .*: take it out of the trunk"):
        await pointer.point(OURS)
    assert twilio.made("POST", PATH) == []


async def test_a_number_that_rings_here_already(
    pointer: NumberPointer, twilio: FakeTwilioApi, said: list[str]
) -> None:
    twilio.number.update(voice_url=OURS, voice_method="POST")
    await pointer.point(OURS)
    await pointer.put_back()
    assert said == ["+…006 rings here already."]
    assert twilio.made("POST", PATH) == []


async def test_a_number_that_somebody_else_changed(
    pointer: NumberPointer, twilio: FakeTwilioApi, said: list[str]
) -> None:
    await pointer.point(OURS)
    twilio.number.update(voice_url="https://new.example.com")
    await pointer.put_back()
    assert twilio.number["voice_url"] == "https://new.example.com"
    assert said[-1] == "+…006 was changed by somebody else, and stays as it is."


async def test_it_cannot_be_put_back(pointer: NumberPointer, twilio: FakeTwilioApi) -> None:
    await pointer.point(OURS)
    twilio.fail(500, times=100)
    with pytest.raises(TwilioError, match=r"still rings here; set it back to https://old\S+ by hand \(Twi"):
        await pointer.put_back()


async def test_told_to_stop_while_it_is_being_pointed(twilio: FakeTwilioApi, said: list[str]) -> None:
    asked, answers = asyncio.Event(), asyncio.Event()

    class SlowApi(TwilioApi):
        async def set_voice(self, sid: str, voice: VoiceSettings) -> None:
            asked.set()
            await answers.wait()
            await super().set_voice(sid, voice)

    twilio.number.update(voice_url=BEFORE)
    pointer = NumberPointer(SlowApi(ACCOUNT_SID, AUTH_TOKEN, twilio.url), NUMBER, said.append)
    pointing = asyncio.ensure_future(pointer.point(OURS))
    await asked.wait()
    pointing.cancel()
    putting = asyncio.ensure_future(pointer.put_back())
    answers.set()
    await putting
    assert [form["VoiceUrl"] for form in twilio.made("POST", PATH)] == [[OURS], [BEFORE]]


async def test_it_could_not_be_pointed(
    pointer: NumberPointer, twilio: FakeTwilioApi, said: list[str]
) -> None:
    twilio.fail(500, times=5, only="POST")
    with pytest.raises(TwilioError):
        await pointer.point(OURS)
    await pointer.put_back()
    assert said == []
    assert twilio.number["voice_url"] == BEFORE


async def test_a_number_of_somebody_else(twilio: FakeTwilioApi, said: list[str]) -> None:
    pointer = NumberPointer(TwilioApi(ACCOUNT_SID, AUTH_TOKEN, twilio.url), "+15551234567", said.append)
    with pytest.raises(TwilioError, match="the Twilio account has no number that ends in 567"):
        await pointer.point(OURS)
    await pointer.put_back()
