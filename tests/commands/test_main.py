"""The command line as a user runs it, in a separate process."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from moshi_phone.commands.main import COMMANDS, Commands, cli
from moshi_phone.runtime.version import VERSION

ROOT = Path(__file__).parents[2]


def run(*arguments: str, python: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *python, "bot.py", *arguments]
    return subprocess.run(  # noqa: S603
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_load_none_of_the_commands(option: str) -> None:
    told = run(option, python=("-X", "importtime"))
    assert told.returncode == 0
    for word in ("serve", "uv run bot.py --port", ".env") if option == "--help" else (VERSION,):
        assert word in told.stdout
    loaded = {line.rpartition("|")[2].strip() for line in told.stderr.splitlines()}
    assert "moshi_phone.commands.main" in loaded
    assert not loaded & {"pipecat", "fastapi", "numpy", "mlx.core"}, "seconds that neither need wait for"


def test_the_list_has_every_command() -> None:
    listed = run("--help").stdout.partition("Commands:")[2]
    assert [line.split()[0] for line in listed.splitlines() if line] == list(COMMANDS)
    assert "..." not in listed  # and cuts no line


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "after"),
    [((), "asyncio"), ((), "fastapi"), ((), "pipecat.frames.frames"), (("serve", "--help"), "pipecat")],
)
async def test_ctrl_c_during_the_start_ends_it_silently(arguments: tuple[str, ...], after: str) -> None:
    """While modules are imported, which takes two seconds; ``-v`` makes Python print them."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-v", "bot.py", *arguments), cwd=ROOT, stdout=PIPE, stderr=PIPE, limit=2**20
    )
    assert process.stderr is not None
    while (line := await process.stderr.readline()) and not line.startswith(f"import '{after}'".encode()):
        pass
    process.send_signal(signal.SIGINT)
    stdout, stderr = await process.communicate()
    assert process.returncode in (-signal.SIGINT, 130)  # a shell says 130 for either
    assert b"Traceback" not in stderr
    assert not stdout


def test_an_unhandled_ctrl_c_gives_exit_code_130(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def bench() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Commands, "get_command", lambda *_: bench)
    told = CliRunner().invoke(cli, ["bench"])
    assert told.exit_code == 130
    assert not told.output


@pytest.mark.slow
def test_a_mistyped_command_gets_a_suggestion() -> None:
    told = run("srve")
    assert told.returncode == 2
    assert told.stderr.splitlines()[-1] == "Error: There is no command 'srve'; did you mean serve?"


def test_an_option_of_pipecat_s_runner_names_the_runner_command() -> None:
    told = run("-t", "twilio", "-x", "phone.example.com")
    assert told.returncode == 2
    assert told.stderr.splitlines()[-1] == (
        "Error: -t is an option of pipecat's own runner: "
        "uv run --extra runner bot.py runner -t twilio -x phone.example.com"
    )


@pytest.mark.slow
def test_a_command_without_its_packages_names_the_remedy() -> None:
    without = "import sys; sys.modules['streamdouble'] = None; del sys.argv[0]; import runpy; "
    told = run("rehearse", "--help", python=("-c", without + "runpy.run_path('bot.py', run_name='__main__')"))
    assert told.returncode == 1
    assert "rehearse needs the package streamdouble, which is not installed" in told.stderr
    assert "moshi-phone[server,moshi,rehearse]" in told.stderr
    assert "Traceback" not in told.stderr


def test_a_python_without_the_packages_names_the_remedy() -> None:
    told = run(python=("-S",))  # without the installed packages
    assert told.returncode == 1
    assert "uv run bot.py, which installs them" in told.stderr
    assert "Traceback" not in told.stderr


@pytest.mark.slow
def test_a_port_in_use_is_reported_in_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        told = run("--engine", "parrot", "--port", str(port))
    assert told.returncode == 2
    assert told.stderr.splitlines()[-1] == f"Error: Port {port} is taken; choose another with --port."
    assert "Traceback" not in told.stderr


@pytest.mark.slow
def test_serve_is_the_default_command() -> None:
    command = [sys.executable, "bot.py", "--engine", "parrot", "--port", "0"]
    environment = {**os.environ, "MOSHI_PARROT_DELAY": "0.5"}
    with subprocess.Popen(  # noqa: S603
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env=environment
    ) as server:
        assert server.stderr is not None
        said = ""
        while "Answering calls at ws://127.0.0.1:" not in said:
            line = server.stderr.readline()
            assert line, said
            said += line
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=30)
    assert "repeats the caller after 0.5 s" in said
    assert server.returncode == 0
