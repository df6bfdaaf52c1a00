"""Phone numbers in E.164: a plus, a country code, at most 15 digits, nothing else."""

from __future__ import annotations

import re

from moshi_phone.runtime.errors import UserError

_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")  # from address books
E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_DECORATION = re.compile(r"[\s().\-/\u00a0\u2010-\u2015\[\]]")
# "+44 (0)20 …": the zero is dialled within the country only. Some countries keep it abroad.
_TRUNK_ZERO = re.compile(r"^(\s*\+\s*[1-9][0-9]{0,2}[\s.\-/\u00a0\u2010-\u2015]*[(\[]\s*)0")
_KEEP_ZERO = re.compile(r"^\s*\+\s*(39|378|379|225|241|242)(?![0-9])")


class BadNumber(UserError):
    """The text is not a dialable phone number."""


def without_invisible(text: str) -> str:
    """Remove invisible characters: direction marks, zero-width spaces."""
    return _INVISIBLE.sub("", text)


def compact(text: str) -> str:
    """Remove characters that only make a number readable: blanks, dashes, dots, slashes, brackets.

    A zero in brackets behind the country code (``+44 (0)20 7946 0018``) is not dialled from abroad and is
    removed, except in countries that keep it (``+39 (0)6 …``).
    """
    text = without_invisible(text)
    return _DECORATION.sub("", text if _KEEP_ZERO.match(text) else _TRUNK_ZERO.sub(r"\1", text))


def parse_number(text: str, option: str = "") -> str:
    """Return the number as E.164 (see ``compact`` for accepted notations).

    Args:
        text: as typed.
        option: its source, for the error.

    Raises:
        BadNumber: states the expected format; a missing country code cannot be guessed.
    """
    number = compact(text)
    if not E164.fullmatch(number):
        where = f"{option}: " if option else ""
        raise BadNumber(
            f"{where}expected a phone number with its country code, such as +15551234567, got {text!r}"
        )
    return number
