"""Removes phone numbers, secrets and control characters from log lines and files.

Numbers are found in any spelling that a phone company, a SIP header, a URL or a person uses. Text that only
looks like a number loses its digits too, which a log can afford.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loguru import Record

_TAIL_DIGITS = 3
_MIN_IN_GROUPS = 10  # fewer digits are not a phone number
_SEPARATORS = r"(?:[ .\-()/\u00a0\u2011]|%20){0,2}"
_MORE_DIGITS = rf"(?:{_SEPARATORS}[0-9]){{6,}}"
_NOT_INSIDE = r"(?<![0-9A-Za-z_.…\-])"  # of a SID, a hash, a file's name, a fraction or a date
# One pattern with named alternatives: the group holds the text in front of the digits ("sip:", "00").
_NUMBER = re.compile(
    "|".join(
        (
            # +15551234567, %2B1555…, \u002b1555…, +1 (555) 123-4567
            rf"(?P<plus>\+|%2B|\\u002B){_SEPARATORS}[1-9]{_MORE_DIGITS}",
            # sip:15551234567@example.com, tel:555-1234
            rf"(?P<uri>\b(?:sips?|tel)(?::|%3A))\+?[0-9](?:{_SEPARATORS}[0-9]){{4,}}",
            # 0049 30 1234567, 0044…
            rf"{_NOT_INSIDE}(?P<exit>00)[1-9]{_MORE_DIGITS}",
            # 15551234567, 0301234567
            rf"{_NOT_INSIDE}(?P<bare>)[0-9]{{9,}}(?!\.?[0-9])",
            # (555) 123-4567, 1-555-123-4567, 044 123 45 67
            rf"{_NOT_INSIDE}(?P<groups>)(?:1[ \-])?\(?[0-9]{{3,5}}\)?[ \-/]{{0,2}}"
            r"[0-9]{3,4}(?:[ \-][0-9]{2,4})+(?![0-9])",
            # 030 1234567, 0171/1234567, (030) 1234567
            rf"{_NOT_INSIDE}(?P<trunk>)\(?0[1-9][0-9]{{1,3}}\)?[ \-/][0-9]{{5,9}}(?![0-9])",
            # 01 23 45 67 89, 01.23.45.67.89
            rf"{_NOT_INSIDE}(?P<pairs>)0[1-9](?:[ .\-][0-9]{{2}}){{4}}(?![0-9])",
        )
    ),
    re.IGNORECASE,
)


class Redactor:
    """Removes phone numbers and given secrets from a text.

    Args:
        secrets: texts that must not appear; None and empty strings are ignored.
    """

    def __init__(self, secrets: Iterable[str | None] = ()) -> None:
        self._secrets = [secret for secret in secrets if secret]

    def text(self, text: str) -> str:
        """Replace each phone number by ``+…567``, and each secret by ``***``."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return _NUMBER.sub(_tail, text)

    def patch(self, record: Record) -> None:
        """Redact a log record in place: ``logger.configure(patcher=Redactor(…).patch)``.

        A safety net for every log line: our own code redacts the values that it knows. A message stays one
        line without escape sequences, whatever values a stranger sent.
        """
        record["message"] = visible(self.text(record["message"]))


_NUMBERS_ONLY = Redactor()


def redact(text: str) -> str:
    """Cut every phone number in the text to its last three digits."""
    return _NUMBERS_ONLY.text(text)


def visible(text: str) -> str:
    r"""Escape control characters in a text, such as ``\n``, ``\x1b`` and ``\u202e``.

    Line ends could forge lines, escape sequences could hide them, and bidi marks reorder words.
    """
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable() or unicodedata.category(character) == "Zs"
        else character.encode("unicode_escape", "surrogatepass").decode()
        for character in text
    )


def _tail(found: re.Match[str]) -> str:
    digits = [character for character in found[0] if character.isdecimal()]
    if found.lastgroup == "groups" and len(digits) < _MIN_IN_GROUPS:
        return found[0]
    return f"{found[found.lastgroup or 0]}…{''.join(digits[-_TAIL_DIGITS:])}"
