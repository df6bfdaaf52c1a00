from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import ClassVar, Literal

import click
import pytest
from click.testing import CliRunner

from moshi_phone.commands.numbers import split_numbers
from moshi_phone.commands.options import as_environment, command, from_environment, options_from
from moshi_phone.server.calls.options import CallOptions
from moshi_phone.server.settings import Settings


@dataclass(frozen=True)
class CakeOptions:
    """Options of the cake."""

    GROUP: ClassVar = "advanced"

    slices: int = field(default=0, metadata={"help": "How many slices."})
    toppings: tuple[str, ...] = field(default=(), metadata={"help": "What is on them."})


@dataclass(frozen=True)
class TeaOptions:
    """Options of the tea."""

    GROUP: ClassVar = "keep"

    kind: Literal["green", "black"] = field(default="green", metadata={"help": "Which tea."})
    minutes: float = field(default=3.0, metadata={"help": "How long.", "min": 0.5, "max": 10.0})
    cups: int = field(default=1, metadata={"help": "How many.", "min": 1})
    milk: bool = field(default=False, metadata={"help": "With milk."})
    pot: Path | None = field(default=None, metadata={"help": "Which pot."})
    secret: str | None = field(
        default=None, metadata={"help": "A spice.", "envvar": "SPICE", "group": "advanced"}
    )
    guests: tuple[str, ...] = field(default=(), metadata={"help": "Who comes."})
    cake: CakeOptions = field(default_factory=CakeOptions)


@command("Brew tea, quickly.")
@options_from(TeaOptions)
def brew(tea_options: TeaOptions) -> None:
    """Brew tea."""
    click.echo(repr(tea_options))


def run(*arguments: str, **environment: str) -> tuple[int, str]:
    result = CliRunner().invoke(brew, arguments, env=environment)
    return result.exit_code, result.output


def test_defaults_are_the_dataclass_s() -> None:
    assert run() == (0, f"{TeaOptions()!r}\n")


def test_each_kind_of_option() -> None:
    code, output = run(
        "--kind", "black", "--minutes", "4.5", "--cups", "2", "--milk", "--pot", "p", "--secret", "s"
    )
    assert code == 0
    assert output == repr(TeaOptions("black", 4.5, 2, True, Path("p"), "s")) + "\n"


def test_the_command_line_overrides_the_environment() -> None:
    assert "cups=5" in run(MOSHI_CUPS="5")[1]
    assert "cups=2" in run("--cups", "2", MOSHI_CUPS="5")[1]
    assert "secret='salt'" in run(SPICE="salt")[1]


def test_errors_are_one_sentence_and_exit_code_2() -> None:
    for arguments, why in (
        (("--kind", "red"), "'red' is not one of 'green', 'black'"),
        (("--minutes", "60"), "expected a number from 0.5 to 10, got 60."),
        (("--cups", "many"), "expected a whole number of 1 or more, got 'many'."),
        (("--cup", "2"), "No such option '--cup'. (Did you mean one of: '--cups'"),
    ):
        code, output = run(*arguments)
        assert code == 2
        assert why in output


def test_help_names_default_and_variable() -> None:
    output = run("--help-all")[1]
    assert "env var: MOSHI_KIND" in output
    assert "default: green" in output
    assert "env var: SPICE" in output


def test_help_is_grouped_and_hides_advanced_options() -> None:
    short, full = run("--help")[1], run("--help-all")[1]
    assert short.index("Recordings and transcripts:") < short.index("--kind") < short.index("--config")
    assert "--secret" not in short
    assert "--help-all" in short  # it leads to the other options
    assert full.index("--kind") < full.index("Advanced:") < full.index("--secret") < full.index("--config")


def test_repeated_options() -> None:
    assert "guests=('Anna', 'Ben')" in run("--guests", "Anna", "--guests", "Ben")[1]


def test_another_process_gets_the_same_options() -> None:
    options = TeaOptions("black", 4.5, 2, True, Path("p"), None, ("Anna", "Ben"))
    assert run(**as_environment(options)) == (0, f"{options!r}\n")


def test_nested_options_are_options_too() -> None:
    options = TeaOptions(cake=CakeOptions(2, ("cream", "nuts")))
    assert run("--slices", "2", "--toppings", "cream", "--toppings", "nuts") == (0, f"{options!r}\n")
    assert run(**as_environment(options)) == (0, f"{options!r}\n")


@pytest.mark.parametrize(
    ("variable", "phrases"),
    [
        ("speak to a person", ("speak to a person",)),  # each word of it was a phrase: "a" was transferred
        ("speak to a person; operator ;", ("speak to a person", "operator")),
        ("one; two\nthree\n", ("one; two", "three")),
        ("", ()),
    ],
)
def test_a_variable_with_several_phrases(
    variable: str, phrases: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOSHI_TRANSFER_PHRASE", variable)
    read = from_environment(CallOptions)
    assert read.transfer_phrase == phrases
    monkeypatch.setenv("MOSHI_TRANSFER_PHRASE", as_environment(read)["MOSHI_TRANSFER_PHRASE"])
    assert from_environment(CallOptions).transfer_phrase == phrases


@dataclass(frozen=True)
class Area:
    GROUP: ClassVar = "advanced"

    host: str = field(default="here", metadata={"help": "A host."})
    other: int = field(default=1, metadata={"help": "An option with the name of another area."})


@dataclass(frozen=True)
class Other:
    GROUP: ClassVar = "advanced"

    port: int = field(default=2, metadata={"help": "A port."})


@dataclass(frozen=True)
class AllAreas:
    area: Area = field(default_factory=Area)
    other: Other = field(default_factory=Other)


def test_a_dataclass_of_areas_needs_no_group_and_areas_may_share_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MOSHI_OTHER", "7")
    assert from_environment(AllAreas) == AllAreas(Area("here", 7), Other(2))


def test_serve_and_pipecat_s_runner_take_the_same_options() -> None:
    """Each area is defined once, in one dataclass; four hand-written copies had begun to differ."""
    areas = {item.name: getattr(Settings(), item.name) for item in fields(Settings)}
    assert from_environment(Settings) == Settings(**areas)
    assert set(as_environment(Settings())) == {
        name for area in areas.values() for name in as_environment(area)
    }


def test_the_environment_and_the_command_line_override_a_settings_file(tmp_path: Path) -> None:
    file = tmp_path / "tea.toml"
    file.write_text('kind = "black"\ncups = 5\nminutes = 4\nmilk = true\nguests = ["Anna", "Ben"]\n')
    file.chmod(0o600)  # or a warning comes first
    code, output = run("--config", str(file), "--minutes", "6", MOSHI_CUPS="7")
    assert (code, output) == (0, repr(TeaOptions("black", 6.0, 7, True, guests=("Anna", "Ben"))) + "\n")
    assert "kind='black'" in run(MOSHI_CONFIG=str(file))[1]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("+15550000001", ["+15550000001"]),
        ("+1 555 000 0001", ["+1 555 000 0001"]),
        ("+15550000001 +15550000002", ["+15550000001", "+15550000002"]),
        ("+1 555 000 0001, +1 555 000 0002 ;+3", ["+1 555 000 0001", "+1 555 000 0002", "+3"]),
        ("5550001", ["5550001"]),
        ("", []),
    ],
)
def test_a_variable_with_several_phone_numbers(text: str, numbers: list[str]) -> None:
    assert split_numbers(text) == numbers
