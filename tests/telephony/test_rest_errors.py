from __future__ import annotations

import json

import pytest
from requests import ConnectionError as RequestsConnectionError
from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.http.response import Response

from moshi_phone.telephony.rest_errors import as_rest_exception, explain


def refused(status: int, code: int | None, message: str = "no") -> TwilioRestException:
    return TwilioRestException(status, "/Calls.json", message, code)


@pytest.mark.parametrize(
    ("error", "text", "code"),
    [
        (RequestsConnectionError("host=10.0.0.1"), "cannot be reached (ConnectionError)", 0),
        (TwilioException("strange"), "Twilio's API: strange", 0),
        (refused(401, 20003), "check TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN (Twilio's error 20003)", 20003),
        (refused(503, None), "an error of its own (HTTP 503): try again", 503),
        (
            refused(400, 21299, "bad"),
            "refused: bad (see https://www.twilio.com/docs/errors/21299)",
            21299,
        ),
    ],
)
def test_errors_are_one_sentence_with_the_remedy(error: Exception, text: str, code: int) -> None:
    explained = explain(error)
    assert text in str(explained)
    assert explained.code == code


def test_errors_contain_no_phone_number() -> None:
    for error in (refused(400, 21299, "+15551234567 is bad"), TwilioException("+15551234567 is bad")):
        assert "1234567" not in str(explain(error))


def test_a_refused_page_of_a_list_is_an_ordinary_error() -> None:
    body = json.dumps({"message": "Authenticate", "code": 20003})
    error = as_rest_exception(TwilioException("Unable to fetch page", Response(401, body)))
    assert isinstance(error, TwilioRestException)
    assert (error.status, error.code, error.msg) == (401, 20003, "Authenticate")


def test_a_refused_page_without_json_keeps_its_text() -> None:
    error = as_rest_exception(TwilioException("Unable to fetch page", Response(502, "<html>")))
    assert isinstance(error, TwilioRestException)
    assert (error.status, error.code, error.msg) == (502, None, "<html>")


def test_other_exceptions_are_unchanged() -> None:
    for error in (ValueError("x"), refused(400, 1), TwilioException("no response in it")):
        assert as_rest_exception(error) is error
