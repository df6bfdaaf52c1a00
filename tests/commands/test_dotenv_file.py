"""commands/dotenv_file.py: which file settings come from, and who could have written it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from moshi_phone.commands.dotenv_file import warnings_about
from tests.support.command_line import run_main

ROOT = Path(__file__).parents[2]


def help_in(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the program in a folder with a ``.env`` in it or above it."""
    command = [sys.executable, str(ROOT / "bot.py"), "serve", "--port", "none"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    return subprocess.run(  # noqa: S603
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(("mode", "warned"), [(0o600, 0), (0o644, 1), (0o640, 1), (0o664, 1), (0o606, 1)])
def test_a_file_that_others_can_read_or_write(tmp_path: Path, mode: int, warned: int) -> None:
    path = tmp_path / ".env"
    path.touch()
    path.chmod(mode)
    warnings = warnings_about(path, tmp_path)
    assert [f"chmod 600 {path}" in warning for warning in warnings] == [True] * warned


def test_a_file_of_a_parent_folder(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.touch(0o600)
    (warning,) = warnings_about(path, tmp_path / "a" / "b")
    assert warning == f"settings come from {path}, of a folder above this one."


def test_a_file_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / ".env"
    path.touch(0o600)
    if path.stat().st_uid == 0:
        os.chown(path, 12345, -1)
    else:
        monkeypatch.setattr(os, "getuid", lambda: 12345)
    (warning,) = warnings_about(path, tmp_path)
    assert warning == f"{path} belongs to another user, who can change what this program does."


@pytest.mark.slow
def test_the_program_warns_on_stderr_and_takes_the_settings(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MOSHI_LOG_LEVEL=wrong\n")
    (tmp_path / ".env").chmod(0o666)
    (tmp_path / "below").mkdir()
    told = help_in(tmp_path / "below")
    assert told.returncode == 2
    assert told.stderr.count("Warning: ") == 2
    assert "Warning: others on this machine can write to" in told.stderr
    (tmp_path / ".env").chmod(0o600)
    assert "Warning" not in help_in(tmp_path).stderr


def test_an_unknown_variable_is_reported(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "MOSHI_PERSONNA=x\nMOSHI_WORKERS=6\nMOSHI_PORT=5001\n"
    )  # the second: cluster's
    (tmp_path / ".env").chmod(0o600)
    _, told = run_main("serve", "--port", "none", folder=tmp_path, environment={})
    assert told.count("Warning: ") == 1
    assert "line 1 of " in told
    assert "did you mean MOSHI_PERSONA?" in told.replace("\n", " ")
