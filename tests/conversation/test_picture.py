"""Pictures of any call can be drawn, and label what they show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from moshi_phone.conversation.facts import CallFacts, Words, found_echo
from moshi_phone.conversation.picture import compose, draw
from moshi_phone.conversation.review import Reviewed
from moshi_phone.conversation.sound import Sound
from moshi_phone.conversation.span import Span
from moshi_phone.conversation.turns import Voices, find_events
from tests.conversation.test_criteria import GOOD, NOBODY, SPEAKS_ON, TAKES, Sides


def reviewed(sides: Sides, secs: float = 30.0) -> Reviewed:
    voices = Voices([Span(*one) for one in sides[0]], [Span(*one) for one in sides[1]], secs)
    words = (Words(2.0, "caller", "Hello"), Words(4.5, "bot", "Hi, " * 100))
    return Reviewed(CallFacts("call", words=words), voices, find_events(voices), Sound())


def texts(call: Reviewed) -> set[str]:
    return {text.get_text() for axes in compose(call).axes for text in axes.texts}


def test_each_event_is_labelled_at_its_time() -> None:
    assert {"250", "200", "interrupts: stops after 300", "backchannel"} <= texts(reviewed(GOOD))
    assert "pause taken" in texts(reviewed(TAKES))
    assert {"interrupts: not stopped", "15 s of silence"} <= texts(reviewed(SPEAKS_ON))


def test_an_echo_is_marked_where_it_was_found() -> None:
    call = reviewed(GOOD)
    metrics = {"echo": {"found_s": 3.5, "delay_ms": 380, "loss_db": 15.2, "removed_db": 25.4}}
    call = replace(call, facts=replace(call.facts, echo=found_echo(metrics)))
    assert " echo: 380 ms, 15 dB down; cancelled since, 25 dB weaker " in texts(call)
    assert found_echo({"echo": None}) is None


@pytest.mark.parametrize("secs", [0.5, 30.0, 200.0, 7200.0])
@pytest.mark.parametrize("sides", [GOOD, NOBODY], ids=["good", "nobody"])
def test_a_call_of_any_length_is_drawn(tmp_path: Path, sides: Sides, secs: float) -> None:
    cut: Sides = ([s for s in sides[0] if s[1] < secs], [s for s in sides[1] if s[1] < secs])
    draw(tmp_path / "call.png", reviewed(cut, secs))
    assert (tmp_path / "call.png").stat().st_size > 10_000
