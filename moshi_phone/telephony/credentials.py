"""Checks the format of Twilio's credentials, to find typing errors before anything is requested or loaded."""

from __future__ import annotations

import re

from moshi_phone.runtime.errors import UserError

_FORMS = {
    "TWILIO_ACCOUNT_SID": (re.compile(r"AC[0-9a-fA-F]{32}"), "AC and 32 hexadecimal digits"),
    "TWILIO_AUTH_TOKEN": (re.compile(r"[0-9a-fA-F]{32}"), "32 hexadecimal digits"),
}


class BadCredential(UserError):
    """A malformed credential. The text is one sentence that names the remedy, without the value.

    Attributes:
        variable: its environment variable.
    """

    variable: str

    def __init__(self, variable: str, expected: str, got: str) -> None:
        super().__init__(
            f"{variable}: expected {expected}, got {_shape(got)}; copy it from https://console.twilio.com"
        )
        self.variable = variable


def check_credentials(account_sid: str | None, auth_token: str | None) -> None:
    """Check the format of the credentials that are set.

    Raises:
        BadCredential: for the first malformed one.
    """
    for (variable, (form, expected)), value in zip(_FORMS.items(), (account_sid, auth_token), strict=True):
        if value and not form.fullmatch(value):
            raise BadCredential(variable, expected, value)


def _shape(text: str) -> str:
    """Describe a text by its length and its first unexpected character only."""
    strange = next((character for character in text if not re.match(r"[0-9a-zA-Z]", character)), None)
    length = f"{len(text)} character{'' if len(text) == 1 else 's'}"
    return f"{length} with {strange!r} among them" if strange else length
