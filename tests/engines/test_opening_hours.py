"""engines/opening_hours.py: hours as text, across midnight, daylight saving time and holidays."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from moshi_phone.engines.opening_hours import (
    ALWAYS_OPEN,
    HoursUnfit,
    OpeningHours,
    Span,
    clock_words,
    parse_closed,
    parse_hours,
    parse_zone,
)

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str, zone: ZoneInfo = BERLIN) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone)


@pytest.mark.parametrize(
    ("hours", "moment", "is_open"),
    [
        ("Mon-Fri 08:00-17:00", "2026-11-30 07:59", False),  # a Monday
        ("Mon-Fri 08:00-17:00", "2026-11-30 08:00", True),
        ("Mon-Fri 08:00-17:00", "2026-11-30 16:59", True),
        ("Mon-Fri 08:00-17:00", "2026-11-30 17:00", False),
        ("Mon-Fri 08:00-17:00", "2026-12-05 12:00", False),  # a Saturday
        ("Mon-Fri 8:00-12:00, Mon 13:00-17:00", "2026-11-30 12:30", False),
        ("Mon-Fri 8:00-12:00, Mon 13:00-17:00", "2026-11-30 13:30", True),
        ("Fri-Mon 10:00-11:00", "2026-11-29 10:30", True),  # over the end of the week
        ("Fri-Mon 10:00-11:00", "2026-12-01 10:30", False),
        ("Fri 22:00-02:00", "2026-12-05 01:59", True),  # over midnight
        ("Fri 22:00-02:00", "2026-12-05 02:00", False),
        ("Fri 22:00-02:00", "2026-12-04 01:00", False),
        ("Sun 22:00-02:00", "2026-11-30 01:00", True),
        ("monday - Friday 00:00-24:00", "2026-11-30 23:59", True),
        ("monday - Friday 00:00-24:00", "2026-12-05 00:00", False),
        ("Sun 01:00-04:00", "2026-10-25 03:30", True),  # the night in which the clock is put back
        ("Sun 03:00-04:00", "2026-03-29 03:30", True),  # and that in which it is put forward
    ],
)
def test_it_is_open_within_its_hours(hours: str, moment: str, is_open: bool) -> None:
    line = OpeningHours(parse_hours(hours), BERLIN)
    assert line.is_open(at(moment)) is is_open
    assert line.is_open(at(moment).astimezone(UTC)) is is_open, "the same moment, as another clock shows it"


def test_it_is_closed_on_closed_days() -> None:
    closed = (parse_closed("2026-12-24/2027-01-01"), parse_closed("2026-11-30"))
    line = OpeningHours(parse_hours("Mon-Sun 08:00-02:00"), BERLIN, closed)
    assert not line.is_open(at("2026-11-30 12:00"))
    assert line.is_open(at("2026-12-23 12:00"))
    assert line.is_open(at("2026-12-24 01:00")), "what opened on the evening before goes on"
    assert not line.is_open(at("2026-12-24 12:00"))
    assert not line.is_open(at("2027-01-01 23:59"))
    assert not line.is_open(at("2027-01-02 01:00"))
    assert line.is_open(at("2027-01-02 12:00"))


def test_without_hours_it_is_open_except_on_closed_days() -> None:
    assert ALWAYS_OPEN.is_open(at("2026-11-29 03:00"))
    holidays = OpeningHours(zone=BERLIN, closed=(parse_closed("2026-12-25"),))
    assert not holidays.is_open(at("2026-12-25 00:00"))
    assert holidays.is_open(at("2026-12-26 00:00"))
    assert holidays.is_open(at("2026-12-24 23:59"))


def test_hours_are_parsed() -> None:
    assert parse_hours("Sat 09:30-12:00") == (Span(5, 570, 720),)
    assert parse_closed("2026-12-24/2027-01-01") == (date(2026, 12, 24), date(2027, 1, 1))
    assert clock_words(at("2026-11-30 08:05")) == "2026-11-30 08:05"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", 'expected hours such as "Mon-Fri 08:00-17:00'),
        ("always", "expected hours such as"),
        ("Mon-Fri 8-17", "expected hours such as"),
        ("Mon-Fri 08:00", "expected hours such as"),
        ("Mo-Fr 08:00-17:00", "expected hours such as"),
        ("Mon-Fry 08:00-17:00", r"expected a day \(Mon, Tue, .*\), got 'Fry'"),
        ("Mon 08:00-25:00", "expected a time from 00:00 to 24:00, got '25:00'"),
        ("Mon 08:60-09:00", "expected a time from 00:00 to 24:00, got '08:60'"),
        ("Mon 08:00-08:00", "expected a time to close that is not the time to open"),
        ("Mon 24:00-08:00", "expected a time to close"),
        ("Mon 08:00-12:00,", "expected hours such as .* got ''"),
    ],
)
def test_invalid_hours_are_refused(text: str, complaint: str) -> None:
    with pytest.raises(HoursUnfit, match=complaint):
        parse_hours(text)


def test_invalid_days_and_time_zones_are_refused() -> None:
    for text in ("24.12.2026", "2026-02-30", "2026-12-24/", "christmas"):
        with pytest.raises(HoursUnfit, match="expected a day such as"):
            parse_closed(text)
    with pytest.raises(HoursUnfit, match="expected the first day before the last one"):
        parse_closed("2027-01-01/2026-12-24")
    for name in ("Berlin", "../etc/passwd", "Mars/Olympus"):
        with pytest.raises(HoursUnfit, match='expected a time zone such as "Europe/Berlin", got'):
            parse_zone(name)
    assert parse_zone("Europe/Berlin") == BERLIN
