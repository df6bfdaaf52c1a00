"""What a call may ask of an engine, and how an engine says that it cannot do it."""

from __future__ import annotations

import pytest

from moshi_phone.engines.duplex import NO_OVERRIDES, CallOverrides, EngineError, RequestRefused
from moshi_phone.engines.parrot import ParrotEngine


def test_a_request_names_what_is_asked_for() -> None:
    assert NO_OVERRIDES.requested == frozenset()
    assert CallOverrides(voice="NATF2", temperature=0.0).requested == {"voice", "temperature"}


def test_a_request_does_not_show_its_words() -> None:
    shown = repr(CallOverrides("You are Anna.", "NATF2", "Hello, this is Anna."))
    assert "NATF2" in shown
    assert "Anna." not in shown


async def test_the_parrot_says_that_it_takes_no_persona() -> None:
    engine = ParrotEngine(1.0)
    await engine.start(lambda _: None)
    expected = "The engine parrot takes no persona for a call; leave it out."
    with pytest.raises(RequestRefused, match=expected):
        engine.prepare(CallOverrides("You are Anna."))
    with pytest.raises(EngineError, match=expected):
        engine.open_session(CallOverrides("You are Anna."))
    assert engine.running == 0
    engine.prepare(NO_OVERRIDES)
    await engine.open_session(NO_OVERRIDES).close()
    await engine.stop()
