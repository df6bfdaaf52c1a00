"""records/directories.py: folders that nobody else looks into."""

from __future__ import annotations

from pathlib import Path

import pytest

from moshi_phone.records.directories import DirectoryUnusable, make_directories
from moshi_phone.records.options import TapOptions
from tests.support.logs import Logged


def test_new_folders_are_for_their_owner_alone(tmp_path: Path, logged: Logged) -> None:
    options = TapOptions(record=tmp_path / "calls" / "wav", transcripts=tmp_path / "txt")
    make_directories(options)
    for folder in (options.record, options.transcripts):
        assert folder is not None
        assert folder.stat().st_mode & 0o777 == 0o700
    assert logged.text == ""


def test_a_folder_that_was_there_is_left_as_it_is_and_named(tmp_path: Path, logged: Logged) -> None:
    tmp_path.chmod(0o755)
    make_directories(TapOptions(record=tmp_path))
    assert tmp_path.stat().st_mode & 0o777 == 0o755
    assert f"may look into {tmp_path} (mode 755)" in logged.text


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DirectoryUnusable, match="Cannot write to"):
        make_directories(TapOptions(record=tmp_path / "file" / "wav"))
