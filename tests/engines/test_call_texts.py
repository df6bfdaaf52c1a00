"""engines/call_texts.py: placeholders for time and caller in a persona's texts."""

from __future__ import annotations

from datetime import datetime

from moshi_phone.engines.call_texts import fill, has_placeholder
from moshi_phone.engines.duplex import CallOverrides

MONDAY = datetime(2026, 11, 30, 8, 5)  # noqa: DTZ001 - the time of its place


def test_placeholders_are_filled() -> None:
    request = CallOverrides(
        persona="It is {weekday}, {now}. The caller's number is {caller}. {other} {} {now",
        greeting="Good day, it is {weekday}.",
        voice="NATF2",
    )
    filled = fill(request, MONDAY, "+15551234567")
    assert filled.persona == (
        "It is Monday, 2026-11-30 08:05. The caller's number is +15551234567. {other} {} {now"
    )
    assert filled.greeting == "Good day, it is Monday."
    assert filled.voice == "NATF2"
    assert fill(CallOverrides(persona="{caller}"), MONDAY, "anonymous").persona == "unknown"
    assert fill(CallOverrides(), MONDAY, "") == CallOverrides()


def test_texts_with_placeholders_are_recognized() -> None:
    assert has_placeholder("at {now}")
    assert not has_placeholder("at {noon}")
    assert not has_placeholder(None)
