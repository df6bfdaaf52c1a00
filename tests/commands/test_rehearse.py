"""``uv run bot.py rehearse`` as a person runs it. What depends on this machine's speed is not asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from commands.main import cli

SPEED = {"first_audio", "delay", "drift", "gaps", "keeps_up"}


def rehearsed(report: Path, *options: str) -> tuple[str, dict[str, bool | None]]:
    """Run it; gives what it printed, and whether each point holds."""
    result = CliRunner().invoke(cli, ["rehearse", "--report", str(report), *options], catch_exceptions=False)
    points = json.loads((report / "report.json").read_text())["points"]
    failed = [point["key"] for point in points if point["passed"] is False]
    assert result.exit_code == (1 if failed else 0), result.output
    assert all(point["by_speed"] == (point["key"] in SPEED) for point in points)
    return result.output, {point["key"]: point["passed"] for point in points}


@pytest.mark.slow
def test_with_the_embedded_engine(tmp_path: Path) -> None:
    # The greeting takes 4 s, and what it covers of the caller's words cannot be found again.
    output, points = rehearsed(tmp_path, "--engine", "parrot", "--secs", "12")
    assert {passed for key, passed in points.items() if key not in SPEED} == {True}
    assert "depends on this machine's speed" in output
    assert "Line quality" in output
    assert {path.name for path in tmp_path.iterdir()} == {
        "call.wav",
        "report.json",
        "call.png",
        "transcript.txt",
    }
    assert "You have reached the parrot." in (tmp_path / "transcript.txt").read_text()


@pytest.mark.slow
def test_with_a_tiny_moshi(tmp_path: Path, tiny_checkpoint: Path) -> None:
    options = ["--engine", "moshi", "--model", str(tiny_checkpoint), "--secs", "6"]
    output, points = rehearsed(tmp_path, *options)
    assert {key for key, passed in points.items() if passed is not True} <= SPEED
    assert "Once more with a mirror" in output


@pytest.mark.slow
def test_a_server_that_does_not_start_is_one_sentence(tmp_path: Path) -> None:
    options = ["rehearse", "--engine", "moshi", "--model", str(tmp_path / "nothing")]
    result = CliRunner().invoke(cli, options)
    assert result.exit_code == 2
    assert str(tmp_path / "nothing") in result.output.splitlines()[-1]
    assert "Traceback" not in result.output


def test_a_clip_that_cannot_be_played(tmp_path: Path) -> None:
    url = "ws://127.0.0.1:9/stream"
    result = CliRunner().invoke(cli, ["rehearse", "--url", url, "--caller", str(tmp_path / "no.wav")])
    assert result.exit_code == 2
    assert "Cannot play" in result.output


def test_a_report_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    options = ["rehearse", "--url", "ws://127.0.0.1:9/stream", "--report", str(tmp_path / "file")]
    result = CliRunner().invoke(cli, options)
    assert result.exit_code == 2
    assert "choose another --report" in result.output


def test_nobody_there_fails_and_leaves_a_report(tmp_path: Path) -> None:
    output, points = rehearsed(tmp_path, "--url", "ws://127.0.0.1:9/stream")
    assert points["accepted"] is False
    assert "no stream at" in output
