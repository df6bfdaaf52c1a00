"""telephony/number_group.py with Twilio's real client: several numbers ring here and are restored."""

from __future__ import annotations

from pathlib import Path

import pytest

from moshi_phone.telephony.number_group import NumberGroup
from moshi_phone.telephony.rest import TwilioApi
from moshi_phone.telephony.rest_errors import TwilioError
from moshi_phone.telephony.saved_numbers import SavedNumbers
from tests.fakes.twilio_api import ACCOUNT_SID, AUTH_TOKEN, FakeTwilioApi
from tests.support.fake_sleep import Naps

FIRST, SECOND, THIRD, CALLERS = "+15550000001", "+15550000002", "+15550000003", "+15551234567"
OURS = "https://phone.example.com/twiml"


def owns(twilio: FakeTwilioApi, *numbers: str) -> None:
    twilio.numbers = [
        twilio.number
        | {"sid": f"PN{place:032x}", "phone_number": number, "voice_url": f"https://old.com/{place}"}
        for place, number in enumerate(numbers)
    ]


def group(
    twilio: FakeTwilioApi, folder: Path, numbers: list[str], also: list[str]
) -> tuple[NumberGroup, list[str]]:
    said = list[str]()
    api = TwilioApi(ACCOUNT_SID, AUTH_TOKEN, twilio.url, sleep=Naps())
    return NumberGroup(api, numbers, also, said.append, SavedNumbers(folder)), said


def urls(twilio: FakeTwilioApi) -> list[str]:
    return [one["voice_url"] for one in twilio.numbers]


async def test_all_numbers_ring_here_and_are_restored(twilio: FakeTwilioApi, tmp_path: Path) -> None:
    owns(twilio, FIRST, SECOND, THIRD)
    pointer, said = group(twilio, tmp_path, [FIRST, SECOND, FIRST], [SECOND, THIRD, CALLERS])
    await pointer.find()
    assert not pointer.rings_here
    await pointer.keep_pointing(OURS)
    assert pointer.rings_here
    assert urls(twilio) == [OURS] * 3, "that of the personas as well, and a caller's is passed over"
    assert sorted(line[:20] for line in said) == [f"+…00{n} rings here now" for n in (1, 2, 3)]
    await pointer.restore()
    assert urls(twilio) == [f"https://old.com/{place}" for place in range(3)]
    assert not pointer.rings_here


async def test_a_number_of_another_account_ends_the_start(twilio: FakeTwilioApi, tmp_path: Path) -> None:
    owns(twilio, FIRST)
    pointer, _ = group(twilio, tmp_path, [FIRST, CALLERS], [])
    with pytest.raises(TwilioError, match="has no number that ends in 567"):
        await pointer.find()
    await pointer.restore()  # nothing was changed, and the locks are given back
    again, _ = group(twilio, tmp_path, [FIRST], [])
    await again.find()
    await again.restore()


async def test_a_number_that_cannot_be_restored_does_not_block_the_others(
    twilio: FakeTwilioApi, tmp_path: Path
) -> None:
    owns(twilio, FIRST, SECOND, THIRD)
    pointer, _ = group(twilio, tmp_path, [FIRST, SECOND, THIRD], [])
    await pointer.keep_pointing(OURS)
    twilio.fail(
        400,
        21421,
        "Invalid",
        times=1,
        only=f"POST /2010-04-01/Accounts/{ACCOUNT_SID}/IncomingPhoneNumbers/PN{1:032x}",
    )
    with pytest.raises(TwilioError, match=r"\+…002 still rings here"):
        await pointer.restore()
    assert urls(twilio) == ["https://old.com/0", OURS, "https://old.com/2"]


async def test_numbers_of_personas_are_set_when_the_api_is_back(
    twilio: FakeTwilioApi, tmp_path: Path
) -> None:
    owns(twilio, FIRST, SECOND)
    pointer, _ = group(twilio, tmp_path, [FIRST], [SECOND, CALLERS])
    await pointer.keep_pointing(OURS)  # find() has failed: the API was down
    assert urls(twilio) == [OURS, OURS]
    await pointer.restore()
    assert urls(twilio) == ["https://old.com/0", "https://old.com/1"]
