"""What serve refuses before anything starts, in one sentence, and what it keeps out of the log."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

import moshi_phone.commands.serve as module
from moshi_phone.commands.main import cli
from tests.fakes.twilio_api import ACCOUNT_SID, AUTH_TOKEN, NUMBER

ACCOUNT = ("--account-sid", ACCOUNT_SID, "--auth-token", AUTH_TOKEN)


def test_given_secrets_are_redacted_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    kept_out: list[str | None] = []
    monkeypatch.setattr(module, "log_to_stderr", lambda _, secrets, __: kept_out.extend(secrets))
    given = {"--auth-token": "a", "--web-password": "b", "--server-token": "c", "--hook-secret": "d"}
    wrong = ["--stream-url", "https://a.example"]  # without --public-url: it ends before it begins
    result = CliRunner().invoke(
        cli, ["serve", *(word for pair in given.items() for word in pair), *wrong], obj=lambda: None
    )
    assert "--stream-url" in result.output
    assert kept_out == list(given.values())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--tunnel"], "--tunnel opens this server to everybody: set TWILIO_AUTH_TOKEN"),
        (["--public-url", "phone.example.com"], "--public-url opens this server to everybody"),
        (["--host", "0.0.0.0"], "--host 0.0.0.0 opens this server to everybody"),  # noqa: S104
        (["--stream-url", "a.com/pods/1"], "--stream-url (MOSHI_STREAM_URL) needs --public-url"),
        (["--public-url", "http://a.com"], "expected a public URL such as https://phone.example.com, got"),
        (
            ["--public-url", "a.com", "--tunnel", "--auth-token", AUTH_TOKEN],
            "--tunnel creates a public URL; leave out either --tunnel or --public-url (PUBLIC_URL).",
        ),
        (
            ["--tunnel", "--host", "192.0.2.1", "--auth-token", AUTH_TOKEN],
            "--tunnel leads to 127.0.0.1; leave out --host 192.0.2.1.",
        ),
        (
            ["--public-url", "a.com", "--number", NUMBER, "--auth-token", AUTH_TOKEN],
            "--number needs TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN, in the environment or in .env",
        ),
        (
            [
                "--public-url",
                "a.com",
                "--number",
                "5",
                "--auth-token",
                AUTH_TOKEN,
                "--account-sid",
                ACCOUNT_SID,
            ],
            "--number (TWILIO_NUMBER): expected a phone number with its country code, such as +1",
        ),
        *(
            (
                [*(option, "+1 (500) 555-0006"), *("--public-url", "a.com", "--number", NUMBER), *ACCOUNT],
                f"{option} is the number that rings here: each such call would come in again.",
            )
            for option in ("--transfer-to", "--fallback-to")
        ),
        (["--transfer-to", "911"], "--transfer-to: expected a phone number with its country code"),
        (["--transfer-key", "0"], "--transfer-key and --transfer-phrase need --transfer-to, or --on-call."),
        (["--hangup-phrase", "bye"], "--transfer-phrase and --hangup-phrase need --listen"),
        (["--transfer-to", "+15559990000", "--transfer-key", "#", "--hangup-key", "#"], "are both #; choose"),
        (
            ["--transfer-to", "+15559990000", "--transfer-key", "0"],
            "--transfer-to needs TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN, in the environment or in .env",
        ),
        (["--listen", "--hangup-phrase", "…"], "--hangup-phrase: expected words to listen for, got '…'."),
        (["--on-end", "https://[::1"], "--on-end: expected a URL such as https://crm.example.com/calls, got"),
        (["--public-url", "https://[::1"], "expected a public URL such as https://phone.example.com, got"),
        (["--engine", "remote", "--server", "ws://[::1"], "--server: expected a URL like ws://gpu-1:8998"),
        (["--on-call", "crm"], "--on-call: expected a URL such as https://crm.example.com/calls, got 'crm'."),
        (["--deny", "anna"], "--deny: expected a number such as +15551234567, or +1555*, got 'anna'."),
    ],
)
def test_user_errors_are_one_sentence(arguments: list[str], words: str) -> None:
    result = CliRunner(env=dict.fromkeys(os.environ)).invoke(cli, ["serve", *arguments], obj=lambda: None)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_tunnel_without_cloudflared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    arguments = [
        "serve",
        "--tunnel",
        "--insecure",
        "--port",
        "0",
        "--engine",
        "parrot",
        "--log-level",
        "error",
    ]
    result = CliRunner().invoke(cli, arguments, obj=lambda: None)
    assert result.exit_code == 2
    assert "Error: cloudflared is not installed: " in result.stderr
    assert result.stderr.count("\n") == 1
