"""README.md and .env.example are correct: snippets run, and commands and options exist."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest

from moshi_phone.commands.main import COMMANDS as COMMANDS_OF_OURS
from moshi_phone.commands.main import cli
from tests.support.markdown_blocks import (
    PAGES,
    README,
    ROOT,
    blocks,
    commands_in_blocks,
    commands_in_text,
    options_in_text,
)

COMMAND = re.compile(
    r"(?:[A-Z_]+=\S+ )*uv run (?:--extra \w+ )*(?:python )?"
    r"((?:bot\.py|-m (?:benchmarks|docs|examples|tests))[^&|>]*).*"
)
OF_OTHERS = {"--no-sync", "--ssl", "--node-manager-port", "--object-manager-port", "--min-worker-port"}
OF_OTHERS |= {
    "--max-worker-port",
    "--build-arg",
    "--cold",
    "--shape",
    "--steps",
    "--jitter-back-ms",
    "--no-pauses",
}  # uv's, Kyutai's server's, Ray's, Docker's, benchmarks'


def commands() -> list[str]:
    """Return every command that a page gives, in a block or within the text."""
    lines = {line for page in PAGES for line in (*commands_in_blocks(page), *commands_in_text(page))}
    return sorted({match[1].strip() for line in lines if (match := COMMAND.fullmatch(line))})


COMMANDS = commands()


async def test_the_stage_in_the_readme_works_and_so_does_its_test() -> None:
    names: dict[str, Any] = {}
    for language, block in blocks(README):
        if language == "python":
            exec(block, names)  # noqa: S102
    await names["test_half_volume_halves_the_samples"]()


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= 200


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("bot.py")])
def test_commands_and_their_options_exist(command: str) -> None:
    arguments = [word for word in shlex.split(command, comments=True)[1:] if word != "--help"]
    with click.Context(cli) as parent:
        name, *rest = arguments if arguments and arguments[0] in COMMANDS_OF_OURS else ["serve", *arguments]
        _command(name).make_context(name, rest, parent=parent)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_that_a_page_names_exist(page: Path) -> None:
    known = {
        name
        for command in COMMANDS_OF_OURS
        for option in _command(command).params
        for name in (*option.opts, *option.secondary_opts)
    }
    named = {name for span in options_in_text(page) for name in re.findall(r"(?<!\S)--[a-z-]+", span)}
    assert named - known - OF_OTHERS == set()


def test_modules_exist() -> None:
    for command in COMMANDS:
        if command.startswith("-m"):
            module = command.split()[1].replace(".", "/")
            assert (ROOT / f"{module}.py").exists(), command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page: Path) -> None:
    for name in re.findall(r"\]\(((?!http)[^)#]+)\)", page.read_text()):
        assert (page.parent / name).exists(), name


def test_functions_that_docs_call_names_exist() -> None:
    """docs/call.md: each name follows its file."""
    named = re.findall(r"`([\w/]+\.py)`((?: ?`?,? ?`[\w.]+`)*)", (ROOT / "docs" / "call.md").read_text())
    count = 0
    for file, names in named:
        source = ast.parse((ROOT / file).read_text())
        defined = {
            node.name if parent is None else f"{parent}.{node.name}"
            for parent, nodes in [
                (None, source.body),
                *((one.name, one.body) for one in source.body if isinstance(one, ast.ClassDef)),
            ]
            for node in nodes
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        }
        for name in re.findall(r"[\w.]+", names):
            count += 1
            assert name in defined, f"{file} has no {name}"
    assert count >= 40


def test_every_variable_of_the_example_is_an_option_s() -> None:
    known = set()
    for name in COMMANDS_OF_OURS:
        for parameter in _command(name).params:
            variable = parameter.envvar
            known |= {variable} if isinstance(variable, str) else set(variable or ())
    named = re.findall(r"^#?([A-Z][A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert named
    assert set(named) <= known


def _command(name: str) -> click.Command:
    with click.Context(cli) as context:
        command = cli.get_command(context, name)
    assert command is not None
    return command
