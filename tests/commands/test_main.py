"""The command line as a person meets it: a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from moshi_phone.runtime.version import VERSION

ROOT = Path(__file__).parents[2]


def run(*arguments: str, python: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *python, "bot.py", *arguments]
    return subprocess.run(  # noqa: S603
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def test_help_teaches() -> None:
    told = run("--help", python=("-X", "importtime"))
    assert told.returncode == 0
    for word in ("serve", "uv run bot.py --port", ".env"):
        assert word in told.stdout
    loaded = {line.rpartition("|")[2].strip() for line in told.stderr.splitlines()}
    assert "moshi_phone.rehearse.rehearsal" in loaded
    assert not loaded & {"scipy", "matplotlib", "mlx.core"}, "a second that --help need not wait for"


@pytest.mark.slow
def test_a_command_that_is_almost_one() -> None:
    told = run("srve")
    assert told.returncode == 2
    assert told.stderr.splitlines()[-1] == "Error: There is no command 'srve'; did you mean serve?"


def test_an_option_of_pipecat_s_runner_names_the_command_that_was_meant() -> None:
    told = run("-t", "twilio", "-x", "phone.example.com")
    assert told.returncode == 2
    assert told.stderr.splitlines()[-1] == (
        "Error: -t is an option of pipecat's own runner: "
        "uv run --extra runner bot.py runner -t twilio -x phone.example.com"
    )


@pytest.mark.slow
def test_a_command_whose_packages_are_not_installed_says_how_to_get_them() -> None:
    without = "import sys; sys.modules['streamdouble'] = None; del sys.argv[0]; import runpy; "
    told = run("rehearse", "--help", python=("-c", without + "runpy.run_path('bot.py', run_name='__main__')"))
    assert told.returncode == 1
    assert "rehearse needs the package streamdouble, which is not installed" in told.stderr
    assert "moshi-phone[server,moshi,rehearse]" in told.stderr
    assert "Traceback" not in told.stderr


def test_a_python_without_the_packages_says_what_to_do() -> None:
    told = run(python=("-S",))  # without what is installed
    assert told.returncode == 1
    assert "uv run bot.py, which installs them" in told.stderr
    assert "Traceback" not in told.stderr


@pytest.mark.slow
def test_the_list_of_commands_is_not_cut() -> None:
    assert "..." not in run("--help").stdout.partition("Commands:")[2]


def test_version() -> None:
    assert run("--version").stdout.strip().endswith(VERSION)


@pytest.mark.slow
def test_a_port_that_is_taken_is_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        told = run("--engine", "parrot", "--port", str(port))
    assert told.returncode == 2
    assert told.stderr.splitlines()[-1] == f"Error: Port {port} is taken; choose another with --port."
    assert "Traceback" not in told.stderr


@pytest.mark.slow
def test_serve_is_what_no_command_means() -> None:
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
