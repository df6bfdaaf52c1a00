"""Errors of Twilio's REST API, each in one sentence with the remedy."""

from __future__ import annotations

import json
from http import HTTPStatus

from requests import RequestException
from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.http.response import Response

from moshi_phone.access.redact import redact
from moshi_phone.runtime.errors import UserError

_REMEDIES = {
    20003: "Twilio refused the credentials: check TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN",
    20404: "Twilio knows no such call or number in this account: check TWILIO_ACCOUNT_SID",
    20429: "Twilio had too many requests from this account: try again in a minute",
    21210: "the number to call from is not verified: use a number of your Twilio account for --from",
    21211: "Twilio cannot call that number: check its country code and length",
    21212: "Twilio cannot call from that number: use a number of your Twilio account for --from",
    21215: "the account may not call that country: allow it in the voice geographic permissions at "
    "https://console.twilio.com",
    21219: "a trial account calls verified numbers only: verify that one, or upgrade, at "
    "https://console.twilio.com",
}
_SERVER_ERROR = 500


class TwilioError(UserError):
    """A request to Twilio failed. The text is one sentence that names the remedy.

    Attributes:
        code: Twilio's error code, or 0 without one.
        may_pass: whether a repetition may succeed: the API was unreachable, had an internal error, or was
            over its rate limit.
    """

    def __init__(self, text: str, code: int = 0, *, may_pass: bool = False) -> None:
        super().__init__(text)
        self.code = code
        self.may_pass = may_pass


def as_rest_exception(error: Exception) -> Exception:
    """Convert Twilio's error for a list into the one for other requests.

    For a refused page of a list, Twilio's client raises a plain ``TwilioException`` that contains the
    response.
    """
    if type(error) is not TwilioException:  # subclasses are specific already
        return error
    for part in error.args:
        if isinstance(part, Response) and part.status_code != HTTPStatus.OK:
            try:
                answer = json.loads(part.text)
                message, code = str(answer["message"]), answer["code"]
            except (ValueError, TypeError, KeyError):
                message, code = part.text, None
            refused: Exception = TwilioRestException(part.status_code, "", message, code)
            return refused
    return error


def explain(error: Exception) -> TwilioError:
    """Explain an error of Twilio's client to the user, without phone numbers."""
    if isinstance(error, RequestException):
        return TwilioError(
            f"Twilio's API cannot be reached ({type(error).__name__}): check this machine's network",
            may_pass=True,
        )
    if isinstance(error, ValueError):
        return TwilioError(
            "Twilio's API answered something that is not JSON: check that no proxy or login page of this "
            "network answers in its place",
            may_pass=True,
        )
    if not isinstance(error, TwilioRestException):
        return TwilioError(f"Twilio's API: {redact(str(error))}")
    code = int(error.code or error.status)  # a proxy's answer in Twilio's place has no code
    may_pass = error.status >= _SERVER_ERROR or error.status == HTTPStatus.TOO_MANY_REQUESTS
    if code in _REMEDIES:
        return TwilioError(f"{_REMEDIES[code]} (Twilio's error {code})", code, may_pass=may_pass)
    if error.status >= _SERVER_ERROR:
        return TwilioError(
            f"Twilio's API had an error of its own (HTTP {error.status}): try again, or see "
            "https://status.twilio.com",
            code,
            may_pass=True,
        )
    return TwilioError(
        f"Twilio refused: {redact(error.msg)} (see https://www.twilio.com/docs/errors/{code})",
        code,
        may_pass=may_pass,
    )
