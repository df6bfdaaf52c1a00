"""The services' files are what systemd and launchd read."""

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
    """The unit as it would be where the program is at another place, which there is."""
    text = UNIT.read_text().replace("/opt/moshi-phone/.venv/bin/python", sys.executable)
    path = tmp_path / "moshi-phone.service"
    path.write_text(text.replace("/opt/moshi-phone", str(DEPLOY.parent)))
    return path


@needs_systemd
def test_systemd_understands_the_unit(installed: Path) -> None:
    verdict = analyze(installed, "verify", "--man=no", "--recursive-errors=no")
    assert (verdict.returncode, verdict.stderr) == (0, "")


@needs_systemd
def test_systemd_would_say_what_it_does_not_understand(installed: Path) -> None:
    installed.write_text(installed.read_text().replace("KillMode=mixed", "KillMode=mxed"))
    verdict = analyze(installed, "verify", "--man=no", "--recursive-errors=no")
    assert "Failed to parse kill mode" in verdict.stderr


@needs_systemd
def test_the_service_may_do_little(installed: Path) -> None:
    """systemd's own measure: 10 is a service that may do all; the threshold is in tenths."""
    verdict = analyze(installed, "security", "--offline=yes", "--no-pager", "--threshold=20")
    assert verdict.returncode == 0, verdict.stdout


def test_a_wrong_setting_does_not_start_the_service_for_ever() -> None:
    assert unit()["RestartPreventExitStatus"] == "2"  # commands/errors.py: what a person must set right


def test_launchd_s_file_says_what_runs_and_for_how_long_it_may_end() -> None:
    found = plist()
    assert found["Label"] == "phone.moshi"
    assert found["ProgramArguments"][0].startswith(found["WorkingDirectory"])
    assert found["KeepAlive"] == {"SuccessfulExit": False}
    assert found["Umask"] == 0o077
    assert found["ProcessType"] == "Interactive"
