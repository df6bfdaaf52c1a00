"""The services' files are valid for systemd and launchd."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.test_names import DEPLOY, plist, unit

UNIT = DEPLOY / "moshi-phone.service"
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (Debian's package systemd)"
)


def analyze(unit_file: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - a file of ours
        ["systemd-analyze", *arguments, str(unit_file)],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Return the unit with the path of an existing program."""
    text = UNIT.read_text().replace("/opt/moshi-phone/.venv/bin/python", sys.executable)
    path = tmp_path / "moshi-phone.service"
    path.write_text(text.replace("/opt/moshi-phone", str(DEPLOY.parent)))
    return path


@needs_systemd
def test_systemd_accepts_the_unit(installed: Path) -> None:
    verdict = analyze(installed, "verify", "--man=no", "--recursive-errors=no")
    assert (verdict.returncode, verdict.stderr) == (0, "")


@needs_systemd
def test_systemd_reports_an_invalid_unit(installed: Path) -> None:
    installed.write_text(installed.read_text().replace("KillMode=mixed", "KillMode=mxed"))
    verdict = analyze(installed, "verify", "--man=no", "--recursive-errors=no")
    assert "Failed to parse kill mode" in verdict.stderr


@needs_systemd
def test_the_service_is_sandboxed(installed: Path) -> None:
    """systemd's exposure score: 10 is an unrestricted service; the threshold is in tenths."""
    verdict = analyze(installed, "security", "--offline=yes", "--no-pager", "--threshold=20")
    assert verdict.returncode == 0, verdict.stdout


def test_a_wrong_setting_does_not_restart_the_service_for_ever() -> None:
    assert unit()["RestartPreventExitStatus"] == "2"  # commands/errors.py: what a person must set right


def test_launchd_s_file_names_the_program_and_its_exit_time() -> None:
    found = plist()
    assert found["Label"] == "phone.moshi"
    assert found["ProgramArguments"][0].startswith(found["WorkingDirectory"])
    assert found["KeepAlive"] == {"SuccessfulExit": False}
    assert found["Umask"] == 0o077
    assert found["ProcessType"] == "Interactive"
