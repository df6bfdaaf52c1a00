"""telephony/api_retry.py: temporary failures are retried, permanent ones are raised."""

from __future__ import annotations

import asyncio

import pytest

from moshi_phone.telephony.api_retry import ApiRetry
from moshi_phone.telephony.rest_errors import TwilioError
from tests.support.fake_sleep import Naps
from tests.support.logs import Logged
from tests.support.waiting import until

DOWN = TwilioError("it is down", may_pass=True)
WRONG = TwilioError("the account is closed")


class Api:
    """Gives the configured answers, and then successes."""

    def __init__(self, *answers: Exception | None) -> None:
        self._answers = list(answers)
        self.asked = 0

    async def ask(self) -> None:
        self.asked += 1
        if self._answers and (error := self._answers.pop(0)):
            raise error


async def test_a_successful_request_is_not_repeated() -> None:
    api = Api()
    assert await ApiRetry("point", Naps()).run(api.ask)
    assert api.asked == 1


async def test_a_permanent_error_is_raised() -> None:
    with pytest.raises(TwilioError, match="closed"):
        await ApiRetry("point", Naps()).run(Api(WRONG).ask)


async def test_an_unavailable_api_is_retried_until_it_is_back(logged: Logged) -> None:
    api, naps = Api(DOWN, DOWN, DOWN), Naps()
    retry = ApiRetry("point the number", naps)
    assert not await retry.run(api.ask)
    await until(lambda: api.asked == 4)
    assert naps.secs == [1.0, 2.0, 5.0]
    await logged.says("Twilio's API answers again; done: point the number")
    assert logged.text.count("Cannot point the number now: it is down") == 1


async def test_a_later_permanent_error_is_logged_and_not_retried(logged: Logged) -> None:
    api = Api(DOWN, WRONG)
    assert not await ApiRetry("point", Naps()).run(api.ask)
    await logged.says("refuses to point: the account is closed")
    assert api.asked == 2


async def test_a_silent_api_does_not_delay_the_start(logged: Logged) -> None:
    async def ask() -> None:
        await asyncio.sleep(3600)

    retry = ApiRetry("point", Naps())
    assert not await retry.run(ask, first_secs=0.01)
    assert "Cannot point now: it has not answered in 0.01 s" in logged.text
    await retry.stop()
    await retry.stop()


async def test_a_newer_request_replaces_the_older() -> None:
    older, newer = Api(*[DOWN] * 1000), Api()
    retry = ApiRetry("point", Naps())
    assert not await retry.run(older.ask)
    assert await retry.run(newer.ask)
    asked = older.asked
    await asyncio.sleep(0.01)
    assert older.asked == asked
