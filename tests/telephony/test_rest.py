"""telephony/rest.py: Twilio's real client with a fake API; the requests are asserted."""

from __future__ import annotations

import pytest

from moshi_phone.telephony.rest import OwnedNumber, PlacedCall, TwilioApi, VoiceSettings
from moshi_phone.telephony.rest_errors import TwilioError
from tests.fakes.twilio_api import ACCOUNT_SID, AUTH_TOKEN, NUMBER, NUMBER_SID, FakeTwilioApi
from tests.support.fake_sleep import Naps

TO = "+15551234567"
CALLS = f"/2010-04-01/Accounts/{ACCOUNT_SID}/Calls"


async def place(
    api: TwilioApi, to: str = TO, from_: str = NUMBER, status_url: str | None = None
) -> PlacedCall:
    return await api.place_call(
        to=to, from_=from_, twiml="<Response/>", ring_secs=30, limit_secs=3600, status_url=status_url
    )


async def test_place_a_call(api: TwilioApi, twilio: FakeTwilioApi) -> None:
    call = await place(api, status_url="https://phone.example.com/status")
    assert call == PlacedCall("CA" + "0" * 32, "queued")
    (request,) = twilio.requests
    assert (request.method, request.path) == ("POST", CALLS + ".json")
    assert request.form == {
        "To": [TO],
        "From": [NUMBER],
        "Twiml": ["<Response/>"],
        "Timeout": ["30"],
        "TimeLimit": ["3600"],
        "StatusCallback": ["https://phone.example.com/status"],
        "StatusCallbackEvent": ["initiated", "ringing", "answered", "completed"],
    }


async def test_follow_and_hang_up(api: TwilioApi, twilio: FakeTwilioApi) -> None:
    sid = (await place(api)).sid
    assert [(await api.fetch_call(sid)).status for _ in range(2)] == ["ringing", "in-progress"]
    await api.hang_up(sid)
    assert twilio.requests[-1].path == f"{CALLS}/{sid}.json"
    assert twilio.requests[-1].form == {"Status": ["completed"]}
    assert await api.fetch_call(sid) == PlacedCall(sid, "completed", 42)
    await api.hang_up(sid)  # Twilio answers 404, code 20404: it had ended already


async def test_a_numbers_voice_settings(api: TwilioApi, twilio: FakeTwilioApi) -> None:
    found = await api.find_number(NUMBER)
    assert found == OwnedNumber(NUMBER_SID, NUMBER, VoiceSettings(""))
    assert twilio.requests[-1].form == {"PhoneNumber": [NUMBER], "PageSize": ["1000"]}
    await api.set_voice(found.sid, VoiceSettings("https://phone.example.com/twiml"))
    assert twilio.requests[-1].form == {
        "VoiceUrl": ["https://phone.example.com/twiml"],
        "VoiceMethod": ["POST"],
        "VoiceApplicationSid": [""],
    }
    assert (await api.fetch_number(found.sid)).voice.url == "https://phone.example.com/twiml"


@pytest.mark.parametrize("number", ["+15005550000", "+1500555000"])
async def test_a_number_of_another_account(api: TwilioApi, number: str) -> None:
    with pytest.raises(TwilioError, match="the Twilio account has no number that ends in 000: check"):
        await api.find_number(number)


async def test_a_number_that_is_the_prefix_of_another(api: TwilioApi, twilio: FakeTwilioApi) -> None:
    """The API's filter also matches parts of numbers, and the longer one may come first."""
    longer, shorter = "+493012345678", "+4930123456"
    twilio.numbers = [
        {**twilio.number, "sid": "PN" + "c" * 32, "phone_number": longer},
        {**twilio.number, "sid": "PN" + "d" * 32, "phone_number": shorter},
    ]
    assert [(await api.find_number(one)).number for one in (shorter, longer)] == [shorter, longer]
    with pytest.raises(TwilioError, match="no number that ends in 123"):
        await api.find_number("+4930123")


async def test_the_account(api: TwilioApi, twilio: FakeTwilioApi) -> None:
    twilio.account_type = "Trial"
    assert await api.check_account() == "Trial"
    twilio.account_status = "suspended"
    with pytest.raises(TwilioError, match="the Twilio account is suspended"):
        await api.check_account()


async def test_wrong_credentials(twilio: FakeTwilioApi, naps: Naps) -> None:
    api = TwilioApi(ACCOUNT_SID, "wrong-secret", twilio.url, naps)
    with pytest.raises(TwilioError, match=r"check TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN") as error:
        await place(api)
    assert (error.value.code, len(twilio.requests)) == (20003, 1)
    assert "secret" not in str(error.value)


async def test_a_refused_list_is_an_ordinary_error(twilio: FakeTwilioApi, naps: Naps) -> None:
    """For a page of a list, Twilio's client raises another exception, with the response in it."""
    wrong = TwilioApi(ACCOUNT_SID, "0" * 32, twilio.url, naps)
    with pytest.raises(TwilioError, match=r"^Twilio refused the credentials: .* \(Twilio's error 20003\)$"):
        await wrong.find_number(NUMBER)
    right = TwilioApi(ACCOUNT_SID, AUTH_TOKEN, twilio.url, naps)
    twilio.fail(429, 20429, "Too Many Requests")
    twilio.fail(503)
    assert (await right.find_number(NUMBER)).number == NUMBER, "both are tried again, as for anything else"
    twilio.fail(400, 12345, "A page for +15551234567?")
    with pytest.raises(TwilioError, match=r"^Twilio refused: A page for \+…567\? \(see .*/12345\)$"):
        await right.find_number(NUMBER)


async def test_numbers_that_twilio_refuses(api: TwilioApi) -> None:
    with pytest.raises(TwilioError, match="check its country code"):
        await place(api, to="+1555")
    with pytest.raises(TwilioError, match="use a number of your Twilio account for --from"):
        await place(api, from_="+15550000000")


async def test_another_refusal_names_twilio_s_page_and_no_number(
    api: TwilioApi, twilio: FakeTwilioApi
) -> None:
    twilio.fail(400, 21214, f"'To' phone number cannot be reached: {TO}")
    with pytest.raises(TwilioError) as error:
        await place(api)
    assert str(error.value) == (
        "Twilio refused: Unable to create record: 'To' phone number cannot be reached: +…567 "
        "(see https://www.twilio.com/docs/errors/21214)"
    )


async def test_machine_detection_is_asynchronous(twilio: FakeTwilioApi) -> None:
    api = TwilioApi(ACCOUNT_SID, AUTH_TOKEN, twilio.url)
    await api.place_call(
        to="+15551234567",
        from_=NUMBER,
        twiml="<Response/>",
        ring_secs=20,
        limit_secs=60,
        status_url="https://phone.example.com/status",
        machine_detection="DetectMessageEnd",
    )
    (form,) = twilio.made("POST", "/Calls.json")
    assert form["MachineDetection"] == ["DetectMessageEnd"]
    assert form["AsyncAmd"] == ["true"]
    assert form["AsyncAmdStatusCallback"] == ["https://phone.example.com/status"]


async def test_a_call_is_redirected(twilio: FakeTwilioApi) -> None:
    twilio.calls["CA1"] = {"sid": "CA1", "status": "in-progress", "duration": None}
    await TwilioApi(ACCOUNT_SID, AUTH_TOKEN, twilio.url).redirect("CA1", "<Response/>")
    assert twilio.made("POST", "Calls/CA1.json") == [{"Twiml": ["<Response/>"]}]
