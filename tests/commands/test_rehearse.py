"""``uv run bot.py rehearse`` as a user runs it. Results that depend on speed are not asserted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from moshi_phone.commands import rehearse
from moshi_phone.commands.main import cli
from moshi_phone.engines.options import EngineOptions
from moshi_phone.runtime.errors import UserError
from moshi_phone.server.options import ServerOptions

SPEED = {"first_audio", "delay", "drift", "gaps", "keeps_up"}
BUSY = SPEED | {"quality"}  # what a machine with other things to do may fail: gaps are no words


def rehearsed(report: Path, *options: str) -> tuple[str, dict[str, bool | None]]:
    """Run it; return its output, and whether each criterion holds."""
    result = CliRunner().invoke(cli, ["rehearse", "--report", str(report), *options], catch_exceptions=False)
    points = json.loads((report / "report.json").read_text())["points"]
    failed = [point["key"] for point in points if point["passed"] is False]
    assert result.exit_code == (1 if failed else 0), result.output
    assert all(point["by_speed"] == (point["key"] in SPEED) for point in points)
    return result.output, {point["key"]: point["passed"] for point in points}


@pytest.mark.slow
def test_with_the_embedded_engine(tmp_path: Path) -> None:
    # The greeting takes 4 s; the caller's words under it cannot be aligned.
    output, points = rehearsed(tmp_path, "--engine", "parrot", "--secs", "12")
    assert {passed for key, passed in points.items() if key not in BUSY} == {True}
    assert "depends on this machine's speed" in output
    assert "Line quality" in output
    assert "rehearsal.example" not in output
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["engine"] == "parrot"
    assert report["options"]["secs"] == 12
    assert report["options"]["parrot_delay"] == 1
    assert report["date"].endswith("+00:00")
    assert {path.name for path in tmp_path.iterdir()} == {
        "call.wav",
        "report.json",
        "call.png",
        "transcript.txt",
        "report.md",
        "conversation.png",
    }
    assert "You have reached the parrot." in (tmp_path / "transcript.txt").read_text()


@pytest.mark.slow
def test_the_rehearsed_server_records_and_reports_nothing_and_admits_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With such options in ``.env``, the caller used to be refused, and the call reported and recorded."""
    (tmp_path / "moshi.toml").write_text('deny = ["+1*"]\n')
    for name, value in {
        "MOSHI_ALLOW": "+49*",
        "MOSHI_RECORD": str(tmp_path / "recordings"),
        "MOSHI_TRANSCRIPTS": str(tmp_path / "transcripts"),
        "MOSHI_ON_END": "http://127.0.0.1:9/ended",
        "MOSHI_ON_END_FOLDER": str(tmp_path / "outbox"),
        "MOSHI_CALL_LIMIT_SECS": "31",
        "MOSHI_CONFIG": str(tmp_path / "moshi.toml"),
    }.items():
        monkeypatch.setenv(name, value)
    output, points = rehearsed(tmp_path / "report", "--engine", "parrot", "--secs", "6")
    assert {key for key, passed in points.items() if passed is False} <= BUSY, output
    assert {path.name for path in tmp_path.iterdir()} == {"moshi.toml", "report"}
    assert "Talk to it" not in output


@pytest.mark.slow
def test_a_custom_pipeline_is_rehearsed(tmp_path: Path) -> None:
    _, points = rehearsed(
        tmp_path, "--engine", "parrot", "--secs", "6", "--pipeline", "pipelines.line_mirror:line_mirror"
    )
    assert points["accepted"] is True
    assert "You have reached the parrot." not in (tmp_path / "transcript.txt").read_text()


def test_options_of_the_pipeline_reach_its_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipeline with options could be served, but not rehearsed."""
    seen: dict[str, str] = {}

    async def host(stage: Any, engine: EngineOptions) -> list[Any]:
        seen.update(stage._environment(engine))
        raise UserError("Enough is known.")

    monkeypatch.setattr(rehearse._Stage, "host", host)
    options = ["--pipeline-option", "name=desk", "--pipeline-option", "hello=Good day; who calls?"]
    CliRunner().invoke(cli, ["rehearse", "--report", str(tmp_path), *options])
    assert seen["MOSHI_PIPELINE_OPTION"] == "name=desk\nhello=Good day; who calls?\n"
    assert seen["MOSHI_PIPELINE"] == ServerOptions.pipeline


@pytest.mark.slow
def test_with_a_tiny_moshi(tmp_path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOSHI_GREETING_FRAMES", "8")
    options = ["--engine", "moshi", "--model", str(tiny_checkpoint), "--secs", "6"]
    output, points = rehearsed(tmp_path, *options)
    assert {key for key, passed in points.items() if passed is not True} <= BUSY
    assert "with a mirror" in output


@pytest.mark.slow
def test_a_server_that_does_not_start_is_one_sentence(tmp_path: Path) -> None:
    options = ["rehearse", "--engine", "moshi", "--model", str(tmp_path / "nothing")]
    result = CliRunner().invoke(cli, options)
    assert result.exit_code == 2
    assert str(tmp_path / "nothing") in result.output.splitlines()[-1]
    assert "Traceback" not in result.output


@pytest.mark.parametrize("engine", [(), ("--url", "ws://127.0.0.1:9/stream")])
def test_paths_are_checked_before_anything_starts(
    tmp_path: Path, engine: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(*_: object, **__: object) -> None:
        raise AssertionError("too early")

    monkeypatch.setattr(rehearse, "OwnServer", started)
    monkeypatch.setattr(rehearse, "check_reachable", started)
    (tmp_path / "file").touch()
    (tmp_path / "no.flac").write_text("not sound")
    for options, says in (
        (("--caller", str(tmp_path / "no.wav")), "Cannot play"),
        (("--caller", str(tmp_path / "no.flac")), "Cannot play"),
        (("--report", str(tmp_path / "file")), "choose another --report"),
    ):
        result = CliRunner().invoke(
            cli, ["rehearse", "--report", str(tmp_path / "r"), *engine, *options], catch_exceptions=False
        )
        assert result.exit_code == 2
        assert says in result.stderr
        assert result.stdout == ""


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ws://127.0.0.1:9/stream", "Nobody answers at 127.0.0.1:9 (connection refused)"),
        ("ws://nowhere.invalid/stream", "Nobody answers at nowhere.invalid:80"),
        ("http://127.0.0.1:9", "expected --url ws://HOST:PORT/stream"),
        ("ws://127.0.0.1:port/stream", "expected --url ws://HOST:PORT/stream"),
    ],
)
def test_an_unreachable_url_exits_with_2_and_one_sentence(tmp_path: Path, url: str, says: str) -> None:
    result = CliRunner().invoke(
        cli, ["rehearse", "--report", str(tmp_path), "--url", url], catch_exceptions=False
    )
    assert result.exit_code == 2
    assert says in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_several_calls_write_one_comparison(tmp_path: Path) -> None:
    options = ["--engine", "parrot", "--secs", "6", "--calls", "3", "--report", str(tmp_path)]
    result = CliRunner().invoke(cli, ["rehearse", *options], catch_exceptions=False)
    assert result.exit_code in (0, 1)  # by this machine's speed
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["engine"], report["options"]["calls"]) == ("parrot", 3)
    assert {point["judged"] for point in report["points"] if point["key"] == "accepted"} == {3}
    assert (tmp_path / "calls.png").exists()
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 3
