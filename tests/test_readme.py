"""What README.md and .env.example say is true: snippets run, and commands and options exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
from pipecat.frames.frames import SpeechOutputAudioRawFrame
from pipecat.tests.utils import run_test

from commands.main import COMMANDS as COMMANDS_OF_OURS
from commands.main import cli

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = [
    line.removeprefix("uv run ").removeprefix("python ")
    for language, block in BLOCKS
    if language in ("sh", "console")
    for line in block.replace("$ ", "").splitlines()
    if re.match(r"(uv run|python) (?:python )?(bot\.py|-m benchmarks)", line)
]


async def test_the_stage_in_the_readme_works() -> None:
    (snippet,) = (block for language, block in BLOCKS if language == "python")
    names: dict[str, type] = {}
    exec(snippet, names)  # noqa: S102
    frame = SpeechOutputAudioRawFrame(b"\x00\x10" * 10, 24_000, num_channels=1)
    frames, _ = await run_test(names["HalfVolume"](), frames_to_send=[frame])
    assert frames[0].audio == b"\x00\x08" * 10  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("bot.py")])
def test_commands_and_their_options_exist(command: str) -> None:
    arguments = shlex.split(command, comments=True)[1:]
    arguments = arguments[: arguments.index("&")] if "&" in arguments else arguments
    with click.Context(cli) as parent:
        name, *rest = arguments if arguments and arguments[0] in COMMANDS_OF_OURS else ["serve", *arguments]
        _command(name).make_context(name, rest, parent=parent)


def test_benchmarks_exist() -> None:
    for command in COMMANDS:
        if command.startswith("-m"):
            module = command.split()[1].replace(".", "/")
            assert (ROOT / f"{module}.py").exists(), command


def test_files_that_the_readme_names_exist() -> None:
    for name in re.findall(r"\]\(((?!http)[^)#]+)\)", README):
        assert (ROOT / name).exists(), name


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
