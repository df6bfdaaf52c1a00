"""telephony/credentials.py: invalid credentials are explained without showing them."""

from __future__ import annotations

import pytest

from moshi_phone.telephony.credentials import BadCredential, check_credentials

SID, TOKEN = "AC" + "0123456789abcdef" * 2, "fedcba9876543210" * 2


A_SID = "TWILIO_ACCOUNT_SID: expected AC and 32 hexadecimal digits"
A_TOKEN = "TWILIO_AUTH_TOKEN: expected 32 hexadecimal digits"


@pytest.mark.parametrize(("sid", "token"), [(SID, TOKEN), (None, None), ("", ""), (SID, None), (None, TOKEN)])
def test_valid_and_absent_credentials(sid: str | None, token: str | None) -> None:
    check_credentials(sid, token)


@pytest.mark.parametrize(
    ("sid", "token", "sentence"),
    [
        (
            "AC…",
            TOKEN,
            f"{A_SID}, got 3 characters with '…' among them; copy it from https://console.twilio.com",
        ),
        ("SK" + SID[2:], TOKEN, f"{A_SID}, got 34 characters; copy it"),
        (SID, "…", f"{A_TOKEN}, got 1 character with '…' among them; copy it"),
        (SID, TOKEN + " ", f"{A_TOKEN}, got 33 characters with ' ' among them; copy it"),
        (SID, TOKEN[1:], f"{A_TOKEN}, got 31 characters; copy it"),
    ],
)
def test_invalid_credentials(sid: str, token: str, sentence: str) -> None:
    with pytest.raises(BadCredential) as error:
        check_credentials(sid, token)
    assert str(error.value).startswith(sentence)
    assert token[1:] not in str(error.value) or len(token) < 2
    assert error.value.variable == sentence.partition(":")[0]
