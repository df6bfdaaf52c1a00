"""Each command that README.md prints is run as printed, and does what the README promises.

A command that is printed and has no row in ``CASES`` fails the first test.
"""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from moshi_phone.commands.serve import serve
from tests.support.clone import Clone
from tests.support.doc_commands import (
    Case,
    FirstHour,
    answers,
    parametrized,
)
from tests.support.markdown_blocks import README, commands_in_blocks, commands_in_text, options_in_text
from tests.support.readme_cases import (
    answers_for_pipecats_runner,
    answers_with_three_servers,
    calls_somebody,
    collects_its_tests,
    fetches_and_measures,
    finds_everything,
    has_a_persona_answer,
    has_moshi_answer,
    hears_the_caller_s_words,
    hears_themselves,
    installs_uv,
    is_whole_bash,
    looks_for_the_server,
    rehearses,
    rings,
    runs_a_pipeline_of_ones_own,
    takes_pictures,
    takes_settings_from_a_file,
    talks_in_a_browser,
    tells_the_options,
    wants_a_password_for_the_page,
)

NOT_RUN = {
    "git clone": "benchmarks/first_call.py does it; a command only with the repository's address",
    "brew install uv": "Homebrew's, on a Mac",
    "pipx install uv": "pipx's, from the network",
    "brew install cloudflared": "Homebrew's, on a Mac",
}


CASES: dict[str, Case] = {
    "uv run bot.py": talks_in_a_browser,
    "uv run pytest": collects_its_tests,
    'python3 -m venv ~/.uv && ~/.uv/bin/pip install uv && export PATH="$HOME/.uv/bin:$PATH"': installs_uv,
    "uv run bot.py --engine moshi": has_moshi_answer,
    "uv run bot.py --engine parrot": answers("Engine: parrot, as requested."),
    "uv run bot.py serve --help": tells_the_options,
    "uv run bot.py --web": wants_a_password_for_the_page,
    "uv run python -m docs.pictures": takes_pictures,
    "uv run bot.py doctor": finds_everything,
    "uv run bot.py --tunnel": rings,
    "uv run bot.py dial +15551234567": calls_somebody,
    "uv run bot.py bench": fetches_and_measures,
    'uv run bot.py --persona "You are Anna, at the desk of a library." --voice NATF2': has_a_persona_answer,
    "uv run bot.py --server ws://gpu-1:8998": looks_for_the_server,
    "uv run bot.py --listen": hears_the_caller_s_words,
    "uv run --extra runner bot.py runner -t twilio -x your-name.ngrok.app": (answers_for_pipecats_runner),
    "uv run bot.py --pipeline pipelines.line_mirror:line_mirror": hears_themselves,
    "uv run bot.py --pipeline MODULE:FUNCTION": runs_a_pipeline_of_ones_own,
    "uv run bot.py --engine examples.tone_engine:ToneEngine": answers("The tone sounds."),
    "uv run bot.py rehearse": rehearses,
    "uv run --extra ray bot.py cluster --workers 3": answers_with_three_servers,
    "uv run bot.py --config FILE.toml": takes_settings_from_a_file,
    ".ci/run": is_whole_bash,
}
WITHIN = {"uv run bot.py download"}  # run by the case of bench, which uses the downloaded files
MARKS = {
    "uv run python -m docs.pictures": pytest.mark.browser,
    "uv run --extra ray bot.py cluster --workers 3": pytest.mark.cluster,
}


def test_every_command_of_the_readme_has_a_case_and_every_case_is_printed() -> None:
    flags = {option.opts[0] for option in serve.params if isinstance(option, click.Option) and option.is_flag}
    printed = {*commands_in_blocks(README), *commands_in_text(README)}
    # Text before options is not a command, nor is an option without its value.
    options = [span for span in options_in_text(README) if " " in span or span in flags]
    printed |= {f"uv run bot.py {span}" for span in options}
    assert printed - NOT_RUN.keys() - WITHIN == CASES.keys()
    assert NOT_RUN.keys() | WITHIN <= printed


@pytest.mark.parametrize("command", parametrized(CASES, MARKS))
async def test_a_command_of_the_readme(
    command: str, clone: Clone, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    await CASES[command](FirstHour(command, clone, tmp_path, request.getfixturevalue))
