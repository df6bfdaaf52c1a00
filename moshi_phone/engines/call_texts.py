"""``{now}``, ``{weekday}`` and ``{caller}`` in the texts of a persona, filled for each call. Pure."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime

from moshi_phone.engines.duplex import CallOverrides
from moshi_phone.engines.opening_hours import clock_words

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
UNKNOWN_CALLER = "unknown"
_PLACEHOLDER = re.compile(r"\{(now|weekday|caller)\}")


def has_placeholder(text: str | None) -> bool:
    """Return whether a text has a placeholder."""
    return bool(text and _PLACEHOLDER.search(text))


def fill(request: CallOverrides, here: datetime, caller: str) -> CallOverrides:
    """Fill the placeholders of a call's persona and greeting; other braces are unchanged.

    Args:
        request: the call's settings.
        here: the local time of the line.
        caller: the other person's number; empty if unknown.
    """
    values = {
        "now": clock_words(here),
        "weekday": WEEKDAYS[here.weekday()],
        "caller": caller if caller.startswith("+") else UNKNOWN_CALLER,
    }

    def filled(text: str | None) -> str | None:
        return None if text is None else _PLACEHOLDER.sub(lambda found: values[found[1]], text)

    return replace(request, persona=filled(request.persona), greeting=filled(request.greeting))
