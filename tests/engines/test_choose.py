from __future__ import annotations

import sys

import pytest

from moshi_phone.engines import choose
from moshi_phone.engines.choose import create_engine
from moshi_phone.engines.duplex import EngineUnavailable
from moshi_phone.engines.options import AUTO_CALLS, EngineOptions
from moshi_phone.engines.parrot import ParrotEngine
from moshi_phone.runtime.plugin import PluginUnfit


def test_without_an_accelerator_the_parrot_answers_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "accelerator", lambda: None)
    choice = create_engine(EngineOptions())
    assert isinstance(choice.engine, ParrotEngine)
    assert choice.reason == "because mlx finds no accelerator here (Metal or CUDA)"
    assert choice.line.startswith(f"Engine: parrot, {choice.reason}; --engine moshi")


def test_the_parrot_cannot_say_given_words(monkeypatch: pytest.MonkeyPatch) -> None:
    greeting = "Hello, this is Anna."
    with pytest.raises(EngineUnavailable, match="The parrot cannot say given words; leave out --greeting"):
        create_engine(EngineOptions(engine="parrot", greeting=greeting))
    monkeypatch.setattr("moshi_phone.engines.choose.accelerator", lambda: None)
    assert "; --greeting is left out" in create_engine(EngineOptions(greeting=greeting)).line
    for plain in ("speech", "silence", "none"):
        assert "--greeting" not in create_engine(EngineOptions(greeting=plain)).line


def test_options_that_the_parrot_ignores_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "accelerator", lambda: None)
    asked = create_engine(EngineOptions(engine="parrot", voice="moshika", model="./weights"))
    assert asked.left_out == ("--voice", "--model")
    assert asked.line == "Engine: parrot, as requested; --voice is left out; --model is left out."
    fallen_back = create_engine(EngineOptions(persona="You are Anna.", voice="NATF2"))
    assert fallen_back.left_out == ("--persona", "--voice")


def test_an_unpronounceable_greeting_is_refused_at_the_start() -> None:
    with pytest.raises(EngineUnavailable, match="--greeting: expected at most 150 words"):
        create_engine(EngineOptions(greeting="word " * 400))


def test_the_parrot_can_be_requested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "accelerator", lambda: "Metal")
    choice = create_engine(EngineOptions(engine="parrot", parrot_delay=0))
    assert isinstance(choice.engine, ParrotEngine)
    assert choice.line == "Engine: parrot, as requested."


def test_a_missing_package_of_moshi_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "moshi_phone.engines.moshi.engine", None)
    with pytest.raises(EngineUnavailable, match=r"moshi_phone\.engines\.moshi\.engine, .* run uv sync"):
        create_engine(EngineOptions(engine="moshi"))


class NoEngine:
    """Is not an engine."""


class HalfAnEngine(ParrotEngine):
    """Takes more than the options."""

    def __init__(self, options: EngineOptions, more: str) -> None:
        super().__init__()


class BrokenEngine(ParrotEngine):
    """Raises in its constructor."""

    def __init__(self) -> None:
        raise RuntimeError("no key")


class StillEngine(ParrotEngine):
    """Lacks ``async``."""

    def start(self, progress: object) -> None:  # type: ignore[override]
        raise NotImplementedError


class HastyEngine(ParrotEngine):
    """Has too much ``async``."""

    async def open_session(self, request: object = None) -> None:  # type: ignore[override]
        raise NotImplementedError


class OwnEngine(ParrotEngine):
    """A parrot that takes the options."""

    def __init__(self, options: EngineOptions) -> None:
        super().__init__(options.parrot_delay)


def test_a_user_s_engine_gets_the_options() -> None:
    choice = create_engine(EngineOptions(engine="tests.engines.test_choose:OwnEngine", parrot_delay=0))
    assert isinstance(choice.engine, OwnEngine)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "tests.engines.test_choose:NoEngine",
            "expected a class derived from DuplexEngine, got tests.engines.test_choose:NoEngine.",
        ),
        (
            "moshi_phone.engines.duplex:DuplexEngine",
            "lacks error, open_session, running, start, stop (see engines/duplex.py).",
        ),
        ("tests.engines.test_choose:HalfAnEngine", "cannot be created from EngineOptions ("),
        ("tests.engines.test_choose:BrokenEngine", "cannot be created (RuntimeError: no key; "),
        ("tests.engines.test_choose:StillEngine", "expected async def start, got def in tests.engines"),
        ("tests.engines.test_choose:HastyEngine", "expected def open_session, got async def in tests.eng"),
    ],
)
def test_invalid_engines_are_refused(name: str, sentence: str) -> None:
    with pytest.raises(PluginUnfit) as unfit:
        create_engine(EngineOptions(engine=name))
    assert sentence in str(unfit.value)


def test_an_unknown_engine_name() -> None:
    with pytest.raises(EngineUnavailable, match=r"expected auto, .* or MODULE:CLASS, got 'parot'"):
        create_engine(EngineOptions(engine="parot"))


@pytest.mark.parametrize("engine", ["auto", "moshi"])
def test_a_gpu_that_mlx_does_not_use_is_named_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    monkeypatch.setattr(choose, "accelerator", lambda: None)
    monkeypatch.setattr("moshi_phone.engines.nvidia.gpu_name", lambda: "NVIDIA H200")
    choice = create_engine(EngineOptions(engine=engine))
    assert "this machine's NVIDIA H200" in choice.reason
    assert "to have Moshi on it: UV_NO_GROUP=cpu uv sync --extra cuda, and" in choice.line
    monkeypatch.setattr(choose, "accelerator", lambda: "CUDA")
    assert "H200" not in create_engine(EngineOptions(engine="moshi")).line


def test_the_parrot_s_capacity_is_configurable() -> None:
    for calls in (1, 3):
        assert create_engine(EngineOptions(engine="parrot", calls=calls)).engine.capacity == calls
    assert create_engine(EngineOptions(engine="parrot")).engine.capacity == 64
    options = EngineOptions(engine="parrot", calls=AUTO_CALLS)
    assert create_engine(options).engine.capacity == 64, "nothing is to be measured"
