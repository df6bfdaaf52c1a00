"""access/signatures.py against vectors of Twilio's own validator."""

from __future__ import annotations

import pytest
from starlette.datastructures import FormData, UploadFile
from twilio.request_validator import RequestValidator

from moshi_phone.access.signatures import Signatures

TOKEN = "0123456789abcdef0123456789abcdef"
URL = "https://phone.example.com/twiml"
FIELDS = {"CallSid": "CA" + "1" * 32, "From": "+15551234567", "To": "+15557654321", "Empty": "", "Ü": "ö+ &"}
FORM = FormData(FIELDS)


def sign(url: str, fields: dict[str, str] | None = None, token: str = TOKEN) -> str:
    return str(RequestValidator(token).compute_signature(url, fields or {}))


@pytest.fixture
def signatures() -> Signatures:
    return Signatures(TOKEN)


def test_the_published_example_is_valid() -> None:
    """The example of Twilio's documentation on webhook security, and of its library's tests."""
    form = FormData(
        {
            "CallSid": "CA1234567890ABCDE",
            "Digits": "1234",
            "From": "+14158675309",
            "To": "+18005551212",
            "Caller": "+14158675309",
        }
    )
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    assert Signatures("12345").signs_webhook(url, form, "RSOYDt4T1cUTdK1PDd93/VVr8B8=")


@pytest.mark.parametrize("url", [URL, URL + "?a=b", "https://phone.example.com:8443/twiml"])
def test_a_webhook_signed_by_twilio_is_valid(signatures: Signatures, url: str) -> None:
    signature = sign(url, FIELDS)
    assert RequestValidator(TOKEN).validate(url, FIELDS, signature)
    assert signatures.signs_webhook(url, FORM, signature)


def test_the_order_of_fields_does_not_matter_and_repeats_count(signatures: Signatures) -> None:
    pairs: list[tuple[str, str | UploadFile]] = [("b", "2"), ("a", "1"), ("b", "1")]
    signature = str(RequestValidator(TOKEN).compute_signature(URL, FormData(pairs)))
    assert signatures.signs_webhook(URL, FormData(pairs[::-1]), signature)
    assert not signatures.signs_webhook(URL, FormData(pairs[:2]), signature)


def test_the_default_port_may_be_named_or_not(signatures: Signatures) -> None:
    assert signatures.signs_webhook(URL, FORM, sign("https://phone.example.com:443/twiml", FIELDS))


@pytest.mark.parametrize(
    ("url", "fields", "token"),
    [
        ("https://phone.example.com/status", FIELDS, TOKEN),
        ("https://other.example.com/twiml", FIELDS, TOKEN),
        (URL + "/", FIELDS, TOKEN),
        (URL + "?a=b", FIELDS, TOKEN),
        (URL, {**FIELDS, "From": "+15550000000"}, TOKEN),
        (URL, {}, TOKEN),
        (URL, FIELDS, "another token"),
    ],
)
def test_a_changed_webhook_is_invalid(
    signatures: Signatures, url: str, fields: dict[str, str], token: str
) -> None:
    assert not signatures.signs_webhook(URL, FORM, sign(url, fields, token))


@pytest.mark.parametrize("signature", [None, "", "x", "é", "\ud800", "A" * 28, "A" * 100_000])
def test_a_malformed_signature_is_invalid(signatures: Signatures, signature: str | None) -> None:
    assert not signatures.signs_webhook(URL, FORM, signature)
    assert not signatures.signs_handshake("wss://phone.example.com/stream", signature)


@pytest.mark.parametrize("ours", ["wss://phone.example.com/stream", "https://phone.example.com/stream/"])
@pytest.mark.parametrize("scheme", ["wss", "https"])
@pytest.mark.parametrize("end", ["", "/"])
@pytest.mark.parametrize("port", ["", ":443"])
def test_each_form_of_a_handshake_s_signature_is_valid(
    signatures: Signatures, ours: str, scheme: str, end: str, port: str
) -> None:
    assert signatures.signs_handshake(ours, sign(f"{scheme}://phone.example.com{port}/stream{end}"))


@pytest.mark.parametrize(
    "url", ["wss://phone.example.com/", "wss://other.example.com/stream", "ws://a/stream"]
)
def test_a_handshake_s_signature_for_another_url_is_invalid(signatures: Signatures, url: str) -> None:
    assert not signatures.signs_handshake("wss://phone.example.com/stream", sign(url))
