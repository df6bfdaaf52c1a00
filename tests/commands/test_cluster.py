"""commands/cluster.py: checks before anything starts. The rest: tests/cluster."""

from __future__ import annotations

import re

import pytest
from click.testing import CliRunner, Result

import moshi_phone.commands.cluster as module
from moshi_phone.commands.main import cli
from tests.fakes.twilio_api import AUTH_TOKEN


def run(*arguments: str, token: str = AUTH_TOKEN) -> Result:
    environment = {"TWILIO_AUTH_TOKEN": token, "MOSHI_ENGINE": "parrot"}
    return CliRunner().invoke(cli, ["cluster", *arguments], env=environment)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--public-url", "phone.example.com"), "and --worker-url"),
        (("--worker-url", "wss://{name}.example.com"), "and --worker-url"),
        (
            ("--public-url", "phone.example.com", "--worker-url", "wss://phone.example.com"),
            "the same for all workers: put {name} where they differ",
        ),
        (("--tunnel", "--worker-url", "wss://{name}.example.com"), "--tunnel or --worker-url"),
        (("--min-workers", "3", "--max-workers", "2"), "--min-workers 3 is more than --max-workers 2"),
        (("--insecure",), "No such option"),
        (("--stream-url", "a.com"), "No such option"),  # --worker-url says it
        (("--spare-calls", "0"), "expected a whole number of 1 or more, got 0"),
        (("status", "--control-port", "1"), "No cluster answers at 127.0.0.1:1"),
    ],
)
def test_user_errors_are_one_sentence(arguments: tuple[str, ...], why: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert why in result.output


def test_given_secrets_are_redacted_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    kept_out: list[str | None] = []
    monkeypatch.setattr(module, "log_to_stderr", lambda _, secrets, __: kept_out.extend(secrets))
    given = {"--web-password": "b", "--server-token": "c", "--hook-secret": "d"}
    result = run(*(word for pair in given.items() for word in pair), "--public-url", "phone.example.com")
    assert "--worker-url" in result.output
    assert kept_out == [AUTH_TOKEN, *given.values()]


@pytest.mark.parametrize("arguments", [(), ("update",), ("scale", "2"), ("status",)])
def test_the_auth_token_is_always_required(arguments: tuple[str, ...]) -> None:
    result = run(*arguments, token="")
    assert result.exit_code == 2
    assert "cluster needs TWILIO_AUTH_TOKEN" in result.output


def test_help_names_subcommands_and_main_options() -> None:
    result = run("--help")
    assert result.exit_code == 0
    for word in ("update", "scale", "status", "--workers", "--worker-url", "--spare-calls"):
        assert word in result.output


@pytest.mark.parametrize("arguments", [("update",), ("scale",), ("status",)])
def test_help_of_a_subcommand_names_its_own_options_only(arguments: tuple[str, ...]) -> None:
    """It used to list the options of ``cluster``, and lacked the group of --help."""
    result = run(*arguments, "--help")
    assert result.exit_code == 0
    assert set(re.findall(r"^  (--[a-z-]+)", result.output, re.MULTILINE)) == {
        "--auth-token",
        "--control-port",
        "--help",
    }
