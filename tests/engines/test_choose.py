from __future__ import annotations

import sys

import pytest

from engines import choose
from engines.choose import choose_engine
from engines.duplex import EngineUnavailable
from engines.options import EngineOptions
from engines.parrot import ParrotEngine


def test_without_an_accelerator_the_parrot_answers_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "accelerator", lambda: None)
    choice = choose_engine(EngineOptions())
    assert isinstance(choice.engine, ParrotEngine)
    assert choice.reason == "because mlx finds no accelerator here (Metal or CUDA)"
    assert choice.line.startswith(f"Engine: parrot, {choice.reason}; --engine moshi")


def test_the_parrot_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "accelerator", lambda: "Metal")
    choice = choose_engine(EngineOptions(engine="parrot", parrot_delay=0))
    assert isinstance(choice.engine, ParrotEngine)
    assert choice.line == "Engine: parrot, as asked."


def test_a_package_that_moshi_needs_and_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "engines.moshi.engine", None)
    with pytest.raises(EngineUnavailable, match=r"needs the package engines\.moshi\.engine, .* run uv sync"):
        choose_engine(EngineOptions(engine="moshi"))
