"""engines/duplex_types.py: what a call may request from an engine."""

from __future__ import annotations

from moshi_phone.engines.duplex_types import NO_OVERRIDES, CallOverrides


def test_a_request_names_its_settings() -> None:
    assert NO_OVERRIDES.requested == frozenset()
    assert CallOverrides(voice="NATF2", temperature=0.0).requested == {"voice", "temperature"}


def test_a_request_s_repr_contains_no_text() -> None:
    shown = repr(CallOverrides("You are Anna.", "NATF2", "Hello, this is Anna."))
    assert "NATF2" in shown
    assert "Anna." not in shown


def test_a_request_fills_the_unset_values_of_another() -> None:
    own = CallOverrides(voice="NATF2", temperature=0.0)  # 0 is a value, not a missing one
    other = CallOverrides("You are Anna.", "NATM1", temperature=0.7)
    assert own.or_else(other) == CallOverrides("You are Anna.", "NATF2", temperature=0.0)
    assert NO_OVERRIDES.or_else(other) == other
