from __future__ import annotations

import pytest

from engines import choose
from engines.choose import choose_engine
from engines.options import EngineOptions
from engines.parrot import ParrotEngine


def test_without_an_accelerator_the_parrot_answers_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "accelerator", lambda: None)
    engine, why = choose_engine(EngineOptions())
    assert isinstance(engine, ParrotEngine)
    assert "no accelerator" in why
    assert "--engine moshi" in why


def test_the_parrot_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "accelerator", lambda: "Metal")
    engine, why = choose_engine(EngineOptions(engine="parrot", parrot_delay=0))
    assert isinstance(engine, ParrotEngine)
    assert why == "Engine: parrot, as asked."
