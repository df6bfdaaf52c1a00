"""commands/doctor.py: all checks in order, for people and for programs."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from moshi_phone.commands.checks import line
from moshi_phone.commands.main import cli
from tests.fakes.twilio_api import AUTH_TOKEN, NUMBER, FakeTwilioApi
from tests.support.program import account


def doctor(environment: dict[str, str], *arguments: str) -> Result:
    runner = CliRunner(env={**dict.fromkeys(os.environ), **environment})
    return runner.invoke(cli, ["doctor", "--port", "0", *arguments])


NAMES = [
    "python",
    "packages",
    "accelerator",
    "weights",
    "disk",
    "memory",
    "port",
    "cloudflared",
    "credentials",
    "number",
]


def test_a_complete_setup_passes(twilio: FakeTwilioApi, tmp_path: Path) -> None:
    cloudflared = tmp_path / "cloudflared"
    cloudflared.write_text("#!/bin/sh\necho cloudflared version 2026.1.0\n")
    cloudflared.chmod(0o755)
    result = doctor(account(twilio, cloudflared))
    assert result.exit_code == 0, result.stdout
    lines = result.stdout.splitlines()
    assert [one.split()[1] for one in lines[:10]] == NAMES
    assert all(one.startswith(("ok", "note")) for one in lines[:11])
    assert lines[11:] == ["A call would work."]
    assert NUMBER not in result.stdout
    assert AUTH_TOKEN not in result.stdout


def test_an_empty_setup() -> None:
    result = doctor({"PATH": "/nonexistent", "HOME": "/nonexistent", "MOSHI_ENGINE": "parrot"})
    assert result.exit_code == 1
    assert [one.split()[1] for one in result.stdout.splitlines() if one.startswith("FAIL")] == [
        "cloudflared",
        "credentials",
        "number",
    ]
    assert result.stdout.splitlines()[-1] == (
        "A phone call would not work yet: see the lines with FAIL. The browser phone would: uv run bot.py, "
        "then http://localhost:0."
    )


def test_a_machine_on_which_every_check_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "ANSWER_SECS", 0.1)  # the program on the port does not identify itself
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = doctor({"PATH": "/nonexistent", "MOSHI_ENGINE": "parrot"}, "--port", port)
    assert result.stdout.splitlines()[-1] == "A phone call would not work yet: see the lines with FAIL."


def test_a_public_server_s_browser_phone_needs_a_password() -> None:
    result = doctor({"PATH": "/nonexistent", "MOSHI_ENGINE": "parrot"}, "--public-url", "https://a.invalid")
    assert result.stdout.splitlines()[-1] == "A phone call would not work yet: see the lines with FAIL."


def test_json(twilio: FakeTwilioApi) -> None:
    result = doctor({**account(twilio), "TWILIO_NUMBER": "+15551234567", "PATH": "/nonexistent"}, "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["works"]) == (1, False)
    assert [one["name"] for one in told["checks"]] == [*NAMES, "public URL"]
    number = next(one for one in told["checks"] if one["name"] == "number")
    assert (number["state"], "has no number that ends in 567" in number["found"]) == ("fail", True)


def test_an_invalid_public_url() -> None:
    result = doctor({}, "--public-url", "http://a.com")
    assert (result.exit_code, result.stderr.startswith("Error: expected a public URL")) == (2, True)
