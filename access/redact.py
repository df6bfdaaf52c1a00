"""Keeps phone numbers and secrets out of what is written down."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loguru import Record

_NUMBER = re.compile(r"(?P<plus>\+|%2B|\\u002[bB])(?P<digits>[1-9][0-9]{6,14})(?![0-9])", re.IGNORECASE)
_TAIL_DIGITS = 3


class Redactor:
    """Takes phone numbers, and the secrets that it was told, out of a text."""

    def __init__(self, secrets: Iterable[str | None] = ()) -> None:
        self._secrets = [secret for secret in secrets if secret]

    def text(self, text: str) -> str:
        """Give the text back with ``+…567`` for each phone number and ``***`` for each secret."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return _NUMBER.sub(lambda found: found["plus"] + "…" + found["digits"][-_TAIL_DIGITS:], text)

    def patch(self, record: Record) -> None:
        """Redact a log record in place: ``logger.configure(patcher=Redactor(…).patch)``.

        A net under everything that is logged, whoever logs it: our own code redacts what it knows.
        """
        record["message"] = self.text(record["message"])


_NUMBERS_ONLY = Redactor()


def redact(text: str) -> str:
    """Give the text back with every phone number cut to its last three digits."""
    return _NUMBERS_ONLY.text(text)
