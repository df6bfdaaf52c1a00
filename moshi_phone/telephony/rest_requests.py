"""Requests by Twilio's own client: in threads, with retries and time limits.

The client blocks, so each request runs in a thread, and the event loop with all calls continues.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

from requests import RequestException
from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

from moshi_phone.runtime.daemon_threads import in_daemon_thread
from moshi_phone.runtime.retries import Sleep
from moshi_phone.telephony.rest_errors import as_rest_exception, explain

T = TypeVar("T")

API_URL = "https://api.twilio.com"
REQUEST_SECS = 10.0
RETRY_DELAYS_SECS = (0.5, 1.0, 2.0, 4.0)  # five attempts in all
_TOO_MANY_REQUESTS = 429
_SERVER_ERROR = 500


def make_client(account_sid: str, auth_token: str, api_url: str) -> Client:
    """Create Twilio's client.

    Args:
        account_sid: ``AC…``.
        auth_token: of the account.
        api_url: base URL of requests.
    """
    http: Any = TwilioHttpClient(timeout=REQUEST_SECS)  # the default is no timeout
    # Only for another URL: by default, Twilio's client is used unchanged.
    if api_url != API_URL:
        http = _AtAnotherUrl(http, api_url)
    return Client(account_sid, auth_token, http_client=http)


class Requests:
    """Makes requests with retries.

    A request that Twilio did not process (429) is repeated after a pause. One that failed inside Twilio is
    repeated only if it is idempotent: never the placing of a call.

    Args:
        sleep: waits for some seconds between attempts.
    """

    def __init__(self, sleep: Sleep) -> None:
        self._sleep = sleep

    async def ask(
        self,
        request: Callable[[], T],
        *,
        again_after_server_error: bool = True,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> T:
        """Make a request in a thread, and repeat it where that is safe and may help.

        Args:
            request: a call of Twilio's client.
            again_after_server_error: whether it is idempotent, so that it may be repeated if it failed inside
                Twilio.
            is_wanted: returns whether to repeat it; asked after each pause.

        Raises:
            TwilioError: names the remedy.
        """
        for delay_secs in (*RETRY_DELAYS_SECS, None):
            try:
                return await in_daemon_thread(request, "Twilio's API")
            # ValueError: an answer that is not JSON, which Twilio's client passes to json.loads.
            except (TwilioException, RequestException, ValueError) as raised:
                error = as_rest_exception(raised)
                again = _was_not_processed(error) or (again_after_server_error and _may_pass(error))
                if delay_secs is None or not again:
                    raise explain(error) from raised
                # Checked after the pause: the call may have ended meanwhile.
                await self._sleep(delay_secs)
                if not is_wanted():
                    raise explain(error) from raised
        raise AssertionError("unreachable: the last round raises or returns")


class _AtAnotherUrl:
    """Sends every request of Twilio's client to another base URL: a proxy, or a test server."""

    is_async = False  # read by Twilio's client

    def __init__(self, http: Any, api_url: str) -> None:
        self._http = http
        self._api_url = api_url.rstrip("/")

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        # Replaces any host: TWILIO_EDGE and TWILIO_REGION change the client's.
        asked = urlsplit(url)
        query = f"?{asked.query}" if asked.query else ""
        return self._http.request(method, f"{self._api_url}{asked.path}{query}", *args, **kwargs)


def _was_not_processed(error: Exception) -> bool:
    return isinstance(error, TwilioRestException) and error.status == _TOO_MANY_REQUESTS


def _may_pass(error: Exception) -> bool:
    if isinstance(error, TwilioRestException):
        return bool(error.status >= _SERVER_ERROR)
    return isinstance(error, (RequestException, ValueError))
