"""commands/errors.py: errors in ``.env`` are reported with their line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line import run_main
from tests.support.program import program

DOTENV = """# Twilio
TWILIO_ACCOUNT_SID=AC…
TWILIO_AUTH_TOKEN=…
TWILIO_NUMBER=+15550001111
"""
TOKEN = "f" * 32


@pytest.mark.slow
@pytest.mark.parametrize("command", ["serve", "doctor", "dial"])
async def test_the_readme_s_own_block_pasted_as_printed(tmp_path: Path, command: str) -> None:
    (tmp_path / ".env").write_text(DOTENV)
    arguments = [command, "+15551234567"] if command == "dial" else [command]
    async with program(*arguments, environment={"MOSHI_ENGINE": "parrot"}, folder=str(tmp_path)) as run:
        assert await run.ends() == (1 if command == "doctor" else 2)
    assert "Traceback" not in run.said
    assert "TWILIO_ACCOUNT_SID: expected AC and 32 hexadecimal digits, got 3 characters with '…'" in run.said
    assert f"(line 2 of {tmp_path}/.env)" in run.said


def test_an_environment_variable_has_no_line(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(DOTENV)
    environment = {"TWILIO_ACCOUNT_SID": "ACME", "TWILIO_AUTH_TOKEN": TOKEN}
    code, said = run_main("serve", folder=tmp_path, environment=environment)
    assert code == 2
    assert "got 4 characters; copy it from https://console.twilio.com.\n" in said


def test_a_variable_in_the_file_has_its_line(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(DOTENV)
    code, said = run_main("serve", folder=tmp_path, environment={})
    assert code == 2
    assert "got 3 characters with '…' among them; copy it" in said
    assert f"(line 2 of {tmp_path}/.env)" in said
