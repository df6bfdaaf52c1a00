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
    """Tell whether something in a text is to be filled."""
    return bool(text and _PLACEHOLDER.search(text))


def fill(request: CallOverrides, here: datetime, caller: str) -> CallOverrides:
    """Fill the persona and the greeting of a call; other braces stay as they are.

    Args:
        request: what the call asks for.
        here: the time at the line's place.
        caller: the number of the person at the other end; empty where it is not known.
    """
    values = {
        "now": clock_words(here),
        "weekday": WEEKDAYS[here.weekday()],
        "caller": caller if caller.startswith("+") else UNKNOWN_CALLER,
    }

    def filled(text: str | None) -> str | None:
        return None if text is None else _PLACEHOLDER.sub(lambda found: values[found[1]], text)

    return replace(request, persona=filled(request.persona), greeting=filled(request.greeting))
