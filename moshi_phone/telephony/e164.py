"""Phone numbers in E.164: a plus, a country code, at most 15 digits, nothing else."""

from __future__ import annotations

import re

from moshi_phone.runtime.errors import UserError

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_DECORATION = re.compile(r"[\s().\-/\u00a0\u2010-\u2015]")


class BadNumber(UserError):
    """The text is not a phone number that can be dialled."""


def parse_number(text: str, option: str = "") -> str:
    """Give the number as E.164. Spaces, dashes, dots, slashes and brackets are taken out.

    Args:
        text: as somebody wrote it.
        option: where it was written, for the error.

    Raises:
        BadNumber: saying what was expected; a number without its country code cannot be guessed.
    """
    number = _DECORATION.sub("", text)
    if not _E164.fullmatch(number):
        where = f"{option}: " if option else ""
        raise BadNumber(
            f"{where}expected a phone number with its country code, such as +15551234567, got {text!r}"
        )
    return number
