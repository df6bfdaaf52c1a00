"""Opening hours of a section of ``personas.toml``, and the treatment of calls outside them. Pure.

hours = "Mon-Fri 08:00-17:00"
timezone = "Europe/Berlin"
closed = ["2026-12-24/2027-01-01"]
when_closed = "message"         # or persona, transfer, say
closed_say = "We are closed. Please leave a message after the tone."
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from moshi_phone.engines.opening_hours import (
    ALWAYS_OPEN,
    HoursUnfit,
    OpeningHours,
    parse_closed,
    parse_hours,
    parse_zone,
)

WhenClosed = Literal["persona", "transfer", "say", "message"]
_TEXTS = (
    "hours",
    "timezone",
    "when_closed",
    "closed_persona",
    "closed_greeting",
    "closed_say",
    "closed_transfer_to",
)
KEYS = frozenset((*_TEXTS, "closed"))
CLOSED_SAY = "We are closed now. Please call again during our opening hours."


@dataclass(frozen=True)
class LineHours:
    """A line's opening hours, and the treatment of calls when it is closed.

    Attributes:
        hours: the opening hours.
        when_closed: ``persona``: another persona answers; ``transfer``: another phone rings; ``say``:
            Twilio's voice speaks; ``message``: the caller can leave a message.
        persona: for ``persona``; None for the section's.
        greeting: for ``persona``; None for the section's.
        say: the words of ``say`` and ``message``; None for the default words.
        transfer_to: for ``transfer``; None for ``--transfer-to``.
    """

    hours: OpeningHours = ALWAYS_OPEN
    when_closed: WhenClosed = "persona"
    persona: str | None = field(default=None, repr=False)
    greeting: str | None = field(default=None, repr=False)
    say: str | None = None
    transfer_to: str | None = field(default=None, repr=False)


def read_line_hours(table: Mapping[str, Any]) -> LineHours:
    """Parse a section's hours, including values inherited from the default.

    Args:
        table: the section's keys; keys outside ``KEYS`` are ignored.

    Raises:
        HoursUnfit: names the key, the expected and the actual value.
    """
    for key in _TEXTS:
        if not isinstance(table.get(key, ""), str):
            raise HoursUnfit(f"{key}: expected text in quotes, got {table[key]!r}")
    closed = table.get("closed", [])
    if not isinstance(closed, list) or not all(isinstance(day, str) for day in closed):
        raise HoursUnfit(f'closed: expected a list such as ["2026-12-24/2027-01-01"], got {closed!r}')
    when = table.get("when_closed", "persona")
    if when not in get_args(WhenClosed):
        raise HoursUnfit(f"when_closed: expected {', '.join(get_args(WhenClosed))}, got {when!r}")
    has_hours = "hours" in table or bool(closed)
    if beyond := sorted(key for key in table if key.startswith(("when_closed", "closed_")) and not has_hours):
        raise HoursUnfit(f"{beyond[0]}: expected hours beside it: without them it is always open")
    return LineHours(
        OpeningHours(
            _named("hours", parse_hours, table["hours"]) if "hours" in table else None,
            _named("timezone", parse_zone, table["timezone"]) if "timezone" in table else None,
            tuple(_named("closed", parse_closed, day) for day in closed),
        ),
        when,
        table.get("closed_persona"),
        table.get("closed_greeting"),
        table.get("closed_say"),
        table.get("closed_transfer_to"),
    )


def _named(key: str, parse: Any, text: str) -> Any:
    try:
        return parse(text)
    except HoursUnfit as unfit:
        raise HoursUnfit(f"{key}: {unfit}") from unfit
