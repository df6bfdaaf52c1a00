"""``bot.py review`` on files and folders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile
from click.testing import CliRunner, Result

from moshi_phone.commands.review import review
from tests.conversation.test_recordings import RATE_HZ, two_voices


def run(*args: object) -> Result:
    return CliRunner().invoke(review, [str(arg) for arg in args])


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "calls" / "call.wav"
    path.parent.mkdir()
    soundfile.write(path, two_voices(), RATE_HZ)
    return path


def test_a_recording_s_review_is_printed(recording: Path) -> None:
    result = run(recording)
    assert result.exit_code == 0
    assert "call: Answered after 0.3" in result.output
    assert "✓  It responds within 200 to 300 ms" in result.output


def test_json_is_one_object_with_the_conversation(recording: Path) -> None:
    told = json.loads(run(recording, "--json").stdout)
    assert told["conversation"]["responses"][0]["gap_ms"] == pytest.approx(300, abs=40)
    assert told["name"] == "call"


def test_files_beside_a_recording_are_used(recording: Path) -> None:
    recording.with_suffix(".json").write_text(
        json.dumps(
            {"engine": "moshi", "call_sid": "CA0123456789abcdef", "secs": 8.0, "reason": "the caller hung up"}
        )
    )
    heading = {"date": "2026-11-30T08:00:00Z", "call": "CA0123456789abcdef", "engine": "moshi"}
    line = {"at_s": 1.0, "speaker": "caller", "text": "Tell me a story."}
    recording.with_suffix(".jsonl").write_text(json.dumps(heading) + "\n" + json.dumps(line) + "\n")
    told = json.loads(run(recording, "--json").stdout)
    assert (told["answered_by"], told["call"], told["date"]) == (
        "moshi",
        "CA01234567",
        "2026-11-30T08:00:00Z",
    )
    assert told["ended"] == "the caller hung up"


def test_a_report_is_written(recording: Path, tmp_path: Path) -> None:
    assert run(recording, "--report", tmp_path / "report").exit_code == 0
    written = sorted(path.name for path in (tmp_path / "report").iterdir())
    assert written == ["conversation.png", "report.json", "report.md"]


@pytest.mark.slow
def test_a_folder_is_summarized_and_unreadable_files_are_named(recording: Path, tmp_path: Path) -> None:
    soundfile.write(recording.with_name("other.flac"), two_voices(), RATE_HZ)
    recording.with_name("broken.wav").write_bytes(b"nothing")
    result = run(recording.parent, "--against", recording.parent)
    assert result.exit_code == 0
    assert "broken.wav is no sound file" in result.output
    told = json.loads(run(recording.parent, "--json", "--against", recording.parent).stdout)
    assert len(told["calls"]) == 2
    assert told["over_all"]["response_ms"]["calls"] == 2
    assert told["against"]["difference"]["response_ms"]["certain"] is False
    assert run(recording.parent, "--report", tmp_path / "all").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == ["call", "other"]


def test_two_mono_files_are_one_call(tmp_path: Path) -> None:
    for side in (0, 1):
        soundfile.write(tmp_path / f"{side}.wav", two_voices()[:, side], RATE_HZ)
    told = json.loads(run(tmp_path / "0.wav", tmp_path / "1.wav", "--pair", "--json").stdout)
    assert len(told["conversation"]["responses"]) == 1


@pytest.mark.parametrize("what", ["missing", "text", "empty folder"])
def test_a_file_that_cannot_be_reviewed_is_reported_in_one_sentence(tmp_path: Path, what: str) -> None:
    path = tmp_path / "call.wav"
    if what == "text":
        path.write_text("hello")
    elif what == "empty folder":
        path.mkdir()
    result = run(path)
    assert result.exit_code == 2
    assert "Error: " in result.output
    assert "Traceback" not in result.output
