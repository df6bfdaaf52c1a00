from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import click
from click.testing import CliRunner

from commands.options import takes


@dataclass(frozen=True)
class TeaOptions:
    """What tea can be."""

    kind: Literal["green", "black"] = field(default="green", metadata={"help": "Which tea."})
    minutes: float = field(default=3.0, metadata={"help": "How long.", "min": 0.5, "max": 10.0})
    cups: int = field(default=1, metadata={"help": "How many.", "min": 1})
    milk: bool = field(default=False, metadata={"help": "With milk."})
    pot: Path | None = field(default=None, metadata={"help": "Which pot."})
    secret: str | None = field(default=None, metadata={"help": "A spice.", "envvar": "SPICE"})


@click.command()
@takes(TeaOptions)
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


def test_the_environment_is_read_and_the_command_line_wins() -> None:
    assert "cups=5" in run(MOSHI_CUPS="5")[1]
    assert "cups=2" in run("--cups", "2", MOSHI_CUPS="5")[1]
    assert "secret='salt'" in run(SPICE="salt")[1]


def test_what_is_wrong_is_one_sentence_and_exit_code_2() -> None:
    for arguments, why in (
        (("--kind", "red"), "'red' is not one of 'green', 'black'"),
        (("--minutes", "60"), "60.0 is not in the range 0.5<=x<=10.0"),
        (("--cups", "many"), "'many' is not a valid integer"),
        (("--sugar",), "No such option '--sugar'"),
    ):
        code, output = run(*arguments)
        assert code == 2
        assert why in output


def test_help_names_default_and_variable() -> None:
    output = run("--help")[1]
    assert "env var: MOSHI_KIND" in output
    assert "default: green" in output
    assert "env var: SPICE" in output
