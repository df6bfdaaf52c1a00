"""records/retention.py: files of old calls are deleted, and nothing else."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

from moshi_phone.records.file_writer import FileWriter
from moshi_phone.records.options import TapOptions
from moshi_phone.records.retention import delete_expired, expired, retaining
from moshi_phone.server.calls.call import Call
from moshi_phone.telephony.media_stream import Start
from tests.support.logs import Logged

NOW = datetime(2026, 11, 21, 16, 0, 0, tzinfo=UTC)
SID = "CA" + "1" * 32
OLD, NEW = f"2026-11-14T15-59-59Z-{SID}", f"2026-11-14T16-00-01Z-{SID}"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_files_of_calls_older_than_the_limit_are_selected() -> None:
    old = [f"{OLD}.wav", f"{OLD}-2.wav", f"{OLD}.txt", f"{OLD}.jsonl", "2026-11-01T00-00-00Z-.wav"]
    others = [
        f"{NEW}.wav",
        f"{OLD}.mp3",
        f"copy of {OLD}.wav",
        f"{OLD}.wav.bak",
        "2026-13-99T00-00-00Z-CA1.wav",
        "holiday.wav",
        ".env",
    ]
    assert list(expired(old + others, NOW, 7)) == old
    assert list(expired(old, NOW, 30)) == []


async def test_the_names_match_those_of_calls_files() -> None:
    call = Call(Start("MZ1", SID, "AC1", {}, {}))
    later = call.began + timedelta(days=2)
    assert list(expired([f"{call.file_name}.wav"], later, 1)) == [f"{call.file_name}.wav"]


def test_files_are_deleted_and_counted(tmp_path: Path, logged: Logged) -> None:
    for name in (f"{OLD}.wav", f"{OLD}.txt", f"{NEW}.wav", "notes.txt"):
        (tmp_path / name).touch()
    delete_expired([tmp_path, tmp_path / "gone"], NOW, 7)
    assert names(tmp_path) == [f"{NEW}.wav", "notes.txt"]
    assert f"Deleted 2 files of calls older than 7 days from {tmp_path}" in logged.text
    assert "Old files in" in logged.text


def test_a_file_that_cannot_be_deleted_does_not_block_others(tmp_path: Path, logged: Logged) -> None:
    old = [f"2026-11-01T00-00-0{second}Z-{SID}.wav" for second in range(5)]
    for name in (old[0], old[2], old[4]):
        (tmp_path / name).touch()
    for name in (old[1], old[3]):
        (tmp_path / name).mkdir()  # an entry that unlink refuses, at any position
    delete_expired([tmp_path], NOW, 7)
    assert names(tmp_path) == [old[1], old[3]]
    assert f"2 old files in {tmp_path} could not be deleted: " in logged.text
    assert "Deleted 3 files" in logged.text


def test_a_report_is_deleted_with_its_recording(tmp_path: Path) -> None:
    """It contains the caller's number and words; a user's file in its folder is kept."""
    for name in (OLD, NEW):
        (tmp_path / name).mkdir()
        for path in (f"{name}.wav", f"{name}.json", f"{name}/report.json", f"{name}/conversation.png"):
            (tmp_path / path).touch()
    (tmp_path / f"{OLD}-2").mkdir()
    for path in (f"{OLD}-2.wav", f"{OLD}-2/report.md", f"{OLD}-2/notes.txt"):
        (tmp_path / path).touch()
    delete_expired([tmp_path], NOW, 7)
    assert names(tmp_path) == [f"{OLD}-2", NEW, f"{NEW}.json", f"{NEW}.wav"]
    assert names(tmp_path / f"{OLD}-2") == ["notes.txt"]


async def test_a_limit_without_a_folder_is_logged(logged: Logged) -> None:
    async with retaining(TapOptions(keep_days=7), FileWriter()):
        pass
    assert "WARNING --keep-days deletes nothing: set --record, --transcripts or --calls-db." in logged.text


async def test_the_server_deletes_old_files_at_its_start(tmp_path: Path) -> None:
    (tmp_path / f"{OLD}.wav").touch()
    files = FileWriter()
    async with retaining(TapOptions(record=tmp_path), files):
        pass
    assert files.flush(5)
    assert names(tmp_path) == [f"{OLD}.wav"], "without --keep-days they stay"
    async with retaining(TapOptions(record=tmp_path, transcripts=tmp_path, keep_days=7), files):
        await asyncio.sleep(0)  # its first round, which is a job for the writer's thread
    assert files.flush(5)
    assert names(tmp_path) == []
