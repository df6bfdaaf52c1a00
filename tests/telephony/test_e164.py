"""telephony/e164.py: parsing of E.164 numbers."""

from __future__ import annotations

import pytest

from moshi_phone.telephony.e164 import BadNumber, parse_number


@pytest.mark.parametrize(
    "text",
    [
        "+15551234567",
        " +1 (555) 123-4567 ",
        "+1.555.123.4567",
        "+1555/1234567",
        "\u202a+1 555 123-4567\u202c",
    ],
)
def test_valid_numbers(text: str) -> None:
    assert parse_number(text) == "+15551234567"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5551234567",
        "+05551234567",
        "+1555",
        "+1" + "5" * 15,
        "++15551234567",
        "+1555CALLNOW",
        "+١٢٣٤٥٦٧٨",
    ],
)
def test_invalid_numbers(text: str) -> None:
    with pytest.raises(BadNumber, match=r"with its country code, such as \+15551234567, got"):
        parse_number(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("+44 (0)20 7946 0018", "+442079460018"),
        ("+44(0)2079460018", "+442079460018"),
        ("+44 - ( 0 ) 20 7946 0018", "+442079460018"),
        ("+44 [0]20 7946 0018", "+442079460018"),
        ("+353 (0)1 234 5678", "+35312345678"),
        ("+49 (030) 123456", "+4930123456"),
        ("+39 (0)6 1234567", "+39061234567"),
        ("+1 (555) 123-4567", "+15551234567"),
    ],
)
def test_a_trunk_zero_is_not_dialled_from_abroad(text: str, number: str) -> None:
    assert parse_number(text) == number
