"""Opening hours such as ``Mon-Fri 08:00-17:00, Sat 09:00-12:00``, with closed days. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
EXAMPLE = "Mon-Fri 08:00-17:00, Sat 09:00-12:00"
_PART = re.compile(
    r"(?P<first>[A-Za-z]{3,9})(?:\s*-\s*(?P<last>[A-Za-z]{3,9}))?\s+"
    r"(?P<opens>[0-9:]{4,5})\s*-\s*(?P<closes>[0-9:]{4,5})"
)
_TIME = re.compile(r"([01]?[0-9]|2[0-4]):([0-5][0-9])")
_DAY_MINUTES = 24 * 60


class HoursUnfit(ValueError):
    """The text is not a valid value; the message states the expected and the actual form."""


@dataclass(frozen=True, slots=True)
class Span:
    """A time span on one day of the week, possibly into the next day.

    Attributes:
        day: 0 for Monday.
        opens_min: minutes after midnight.
        closes_min: minutes after midnight of ``day``; more than 24 hours if it closes on the next day.
    """

    day: int
    opens_min: int
    closes_min: int


@dataclass(frozen=True)
class OpeningHours:
    """The opening hours of a line.

    Attributes:
        spans: the open spans of a week; None for always.
        zone: their time zone, with daylight saving time; None for this machine's.
        closed: first and last day of each closed period, inclusive.
    """

    spans: tuple[Span, ...] | None = None
    zone: ZoneInfo | None = None
    closed: tuple[tuple[date, date], ...] = ()

    def local(self, moment: datetime) -> datetime:
        """Convert a time to the line's local time.

        Args:
            moment: with its time zone.
        """
        return moment.astimezone(self.zone)

    def is_open(self, moment: datetime) -> bool:
        """Return whether the line is open at a time.

        Args:
            moment: with its time zone.
        """
        here = self.local(moment)
        # A span that began yesterday may last beyond midnight.
        return self._is_open(here, here.date(), 0) or self._is_open(
            here, here.date() - timedelta(days=1), _DAY_MINUTES
        )

    def _is_open(self, here: datetime, day: date, later_min: int) -> bool:
        if any(first <= day <= last for first, last in self.closed):
            return False
        if self.spans is None:
            return later_min == 0
        minute = here.hour * 60 + here.minute + later_min
        return any(
            span.day == day.weekday() and span.opens_min <= minute < span.closes_min for span in self.spans
        )


ALWAYS_OPEN = OpeningHours()


def parse_hours(text: str) -> tuple[Span, ...]:
    """Parse time spans, separated by commas.

    Raises:
        HoursUnfit: when a span is invalid.
    """
    spans = list[Span]()
    for part in text.split(","):
        found = _PART.fullmatch(part.strip())
        if found is None:
            raise HoursUnfit(f'expected hours such as "{EXAMPLE}", got {part.strip()!r}')
        first = _day(found["first"])
        last = _day(found["last"]) if found["last"] else first
        opens_min, closes_min = _minutes(found["opens"]), _minutes(found["closes"])
        if opens_min in (closes_min, _DAY_MINUTES):
            raise HoursUnfit(f"expected a time to close that is not the time to open, got {part.strip()!r}")
        if closes_min < opens_min:  # 22:00-02:00
            closes_min += _DAY_MINUTES
        days = (last - first) % len(DAYS) + 1  # Fri-Mon wraps around the end of the week
        spans += [Span((first + number) % len(DAYS), opens_min, closes_min) for number in range(days)]
    return tuple(spans)


def parse_closed(text: str) -> tuple[date, date]:
    """Parse a day, ``2026-12-24``, or a first and a last day, ``2026-12-24/2027-01-01``.

    Raises:
        HoursUnfit: when it is neither.
    """
    first, slash, last = text.partition("/")
    try:
        days = date.fromisoformat(first.strip()), date.fromisoformat((last if slash else first).strip())
    except ValueError as error:
        raise HoursUnfit(
            f'expected a day such as "2026-12-24", or "2026-12-24/2027-01-01", got {text!r}'
        ) from error
    if days[1] < days[0]:
        raise HoursUnfit(f"expected the first day before the last one, got {text!r}")
    return days


def parse_zone(name: str) -> ZoneInfo:
    """Return a time zone by its IANA name.

    Raises:
        HoursUnfit: when the name is unknown.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # ZoneInfoNotFoundError is a KeyError
        raise HoursUnfit(f'expected a time zone such as "Europe/Berlin", got {name!r}') from error


def _day(name: str) -> int:
    short = name[:3].title()
    full = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
    if short not in DAYS or not full[DAYS.index(short)].lower().startswith(name.lower()):
        raise HoursUnfit(f"expected a day ({', '.join(DAYS)}), got {name!r}")
    return DAYS.index(short)


def _minutes(text: str) -> int:
    found = _TIME.fullmatch(text)
    if found is None or (minutes := int(found[1]) * 60 + int(found[2])) > _DAY_MINUTES:
        raise HoursUnfit(f"expected a time from 00:00 to 24:00, got {text!r}")
    return minutes


def clock_words(here: datetime) -> str:
    """Format date and time for a persona's text: ``2026-11-30 14:05``."""
    return f"{here.date().isoformat()} {time(here.hour, here.minute).isoformat('minutes')}"
