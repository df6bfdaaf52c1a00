"""telephony/caller_id.py: one key per party, however Twilio spells it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moshi_phone.telephony.caller_id import ANONYMOUS, is_number, normalize


@pytest.mark.parametrize(
    "text",
    [
        None, "", "  ", "anonymous", "Anonymous", "ANONYMOUS", "Restricted", "Unavailable", "unknown",
        "Private Number", "No Caller ID", "blocked",
        "+266696687", "266696687", "+7378742833", "+2562533", "+8656696", "+86282452253",
        "sip:anonymous@anonymous.invalid", "sip:anonymous@203.0.113.7:5060", "<sip:anonymous@example.com>",
        "Unknown Caller", "Caller ID Withheld", "Number Unavailable", "Interaction Blocked By Customer",
        "+0", "00", "+1266696687", "+1 266-696-687", "sip:266696687@pbx.example.com", "anonymous\u200b",
        "sip:c8oqz84zk7z@anonymous.invalid", "whatsapp:", "client:anonymous", "tel:anonymous", '"Anonymous"',
    ],
)  # fmt: skip
def test_a_withheld_number(text: str | None) -> None:
    assert normalize(text) == ANONYMOUS
    assert not is_number(normalize(text))


@pytest.mark.parametrize(
    "text",
    [
        "+15551234567", "15551234567", " 15551234567", "+1 555 123 4567", "+1 (555) 123-4567",
        "0015551234567",
        "whatsapp:+15551234567", "WhatsApp: +1 555 123 4567", "tel:+1-555-123-4567;phone-context=example.com",
        "sip:+15551234567@pbx.example.com;user=phone", "sip:%2B15551234567@203.0.113.7:5060",
        "\u202a+15551234567\u202c", "+15551234567\u200e", "sip:+15551234567:secret@pbx.example.com",
        "whatsapp:%2B15551234567", "sips:15551234567@example.com",
        "<sip:+15551234567@example.com>;tag=1", "＋１５５５１２３４５６７",
    ],
)  # fmt: skip
def test_a_number(text: str) -> None:
    assert normalize(text) == "+15551234567"
    assert is_number(normalize(text))


def test_digits_that_are_also_a_valid_number() -> None:
    assert normalize("+7378742833") == ANONYMOUS  # RESTRICTED on the keys
    assert normalize("+17378742833") == "+17378742833"  # and a number of Austin's


@pytest.mark.parametrize("text", ["+44 (0)20 7946 0018", "0044 (0)20 7946 0018", " 44 (0)20 7946 0018"])
def test_a_trunk_zero_is_removed(text: str) -> None:
    assert normalize(text) == "+442079460018"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("Anna", "anna"),
        ("sip:Anna@Example.com:5060;transport=tls", "sip:anna@example.com"),
        ("sips:anna@example.com", "sip:anna@example.com"),
        ("client:Anna", "client:anna"),
        ("client:15551234567", "client:15551234567"),
        ("911", "911"),
        ("030 123456", "030 123456"),
    ],
)
def test_other_parties(text: str, key: str) -> None:
    assert normalize(text) == key
    assert not is_number(key)


@given(st.text())
def test_any_text_has_a_key(text: str) -> None:
    assert normalize(text)
