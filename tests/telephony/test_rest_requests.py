"""telephony/rest_requests.py: Twilio's real client when the API fails, is slow or has another URL."""

from __future__ import annotations

import socket
import time

import pytest

from moshi_phone.telephony.rest import TwilioApi
from moshi_phone.telephony.rest_errors import TwilioError
from tests.fakes.twilio_api import ACCOUNT_SID, AUTH_TOKEN, NUMBER, FakeTwilioApi
from tests.support.fake_sleep import Naps
from tests.telephony.test_rest import place


@pytest.mark.parametrize(
    "environment",
    [{"TWILIO_EDGE": "dublin"}, {"TWILIO_REGION": "ie1"}, {"TWILIO_EDGE": "sydney", "TWILIO_REGION": "au1"}],
)
@pytest.mark.parametrize("slash", ["", "/"])
async def test_another_base_url_replaces_any_host_of_twilio_s_client(
    twilio: FakeTwilioApi,
    naps: Naps,
    environment: dict[str, str],
    slash: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    api = TwilioApi(ACCOUNT_SID, AUTH_TOKEN, twilio.url + slash, naps)
    assert await api.check_account() == "Full"
    assert (await api.find_number(NUMBER)).number == NUMBER, "with a query as well"


async def test_a_rate_limit_is_waited_out(api: TwilioApi, twilio: FakeTwilioApi, naps: Naps) -> None:
    twilio.fail(429, 20429, "Too Many Requests", times=2)
    await place(api)
    assert (naps.secs, len(twilio.calls)) == ([0.5, 1.0], 1)


async def test_a_permanent_rate_limit_is_an_error(api: TwilioApi, twilio: FakeTwilioApi) -> None:
    twilio.fail(429, 20429, "Too Many Requests", times=100)
    with pytest.raises(TwilioError, match="too many requests from this account: try again in a minute"):
        await place(api)
    assert len(twilio.requests) == 5


@pytest.mark.parametrize(("status", "code"), [(500, 20500), (503, None)])
async def test_a_server_error_never_places_a_call_twice(
    api: TwilioApi, twilio: FakeTwilioApi, status: int, code: int | None
) -> None:
    twilio.fail(status, code, "Internal Server Error")
    with pytest.raises(TwilioError, match=rf"an error of its own \(HTTP {status}\): try again"):
        await place(api)
    assert len(twilio.requests) == 1


async def test_a_server_error_is_retried_for_a_hang_up(
    api: TwilioApi, twilio: FakeTwilioApi, naps: Naps
) -> None:
    sid = (await place(api)).sid
    twilio.fail(500, None, times=2)
    await api.hang_up(sid)
    assert (twilio.calls[sid]["status"], naps.secs) == ("canceled", [0.5, 1.0])


async def test_an_unreachable_api(naps: Naps) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    api = TwilioApi(ACCOUNT_SID, AUTH_TOKEN, f"http://127.0.0.1:{port}", naps)
    with pytest.raises(TwilioError, match=r"cannot be reached \(ConnectionError\): check this machine"):
        await api.fetch_call("CA" + "0" * 32)


async def test_an_html_page_instead_of_the_api_is_a_temporary_error(
    api: TwilioApi, twilio: FakeTwilioApi, naps: Naps
) -> None:
    """A network's login page, or a proxy under maintenance, answers 200 without JSON."""
    twilio.fail(200, times=2)
    assert await api.check_account() == "Full"
    twilio.fail(200, times=10)
    with pytest.raises(TwilioError, match="is not JSON: check that no proxy or login page") as error:
        await api.find_number(NUMBER)
    assert error.value.may_pass
    twilio.failures.clear()
    twilio.requests.clear()
    twilio.fail(200)
    with pytest.raises(TwilioError, match="is not JSON"):
        await place(api)
    assert len(twilio.requests) == 1, "the call may have been placed"


@pytest.mark.parametrize("failure", [(500, None), (502, None), (503, None), (504, 20504), "timeout"])
async def test_a_request_that_may_have_succeeded_is_not_repeated(
    api: TwilioApi, twilio: FakeTwilioApi, failure: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller may already talk with a person, which a second request would interrupt."""
    twilio.put_in_progress("CA1")
    if isinstance(failure, tuple):
        twilio.fail(*failure, times=9)
    else:
        monkeypatch.setattr("moshi_phone.telephony.rest_requests.REQUEST_SECS", 0.05)
        api = TwilioApi(ACCOUNT_SID, AUTH_TOKEN, twilio.url, Naps())
        twilio.on_redirect = lambda _: time.sleep(0.3)
    for is_here in (None, lambda: False):
        with pytest.raises(TwilioError):
            await api.redirect("CA1", "<Response/>", is_here)
    assert len(twilio.made("POST", "Calls/CA1.json")) == 2, "once each"


async def test_a_running_stream_shows_that_a_redirect_failed(api: TwilioApi, twilio: FakeTwilioApi) -> None:
    twilio.put_in_progress("CA1")
    twilio.fail(503, None, times=2)
    await api.redirect("CA1", "<Response/>", lambda: True)
    assert len(twilio.made("POST", "Calls/CA1.json")) == 3


async def test_an_unprocessed_request_is_repeated(api: TwilioApi, twilio: FakeTwilioApi) -> None:
    twilio.put_in_progress("CA1")
    twilio.fail(429, 20429, "Too Many Requests", times=2)
    await api.redirect("CA1", "<Response/>")
    assert len(twilio.made("POST", "Calls/CA1.json")) == 3
    twilio.fail(429, 20429, "Too Many Requests", times=9)
    with pytest.raises(TwilioError, match="too many requests"):
        await api.redirect("CA1", "<Response/>", lambda: False)
    assert len(twilio.made("POST", "Calls/CA1.json")) == 4, "whose stream is over is redirected no more"
