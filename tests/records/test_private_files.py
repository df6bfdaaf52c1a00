from __future__ import annotations

from pathlib import Path

import pytest

from moshi_phone.records import private_files
from moshi_phone.records.options import TapOptions
from moshi_phone.records.private_files import DirectoryUnusable, create, make_directories
from tests.support.logs import Logged


def test_a_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    path, file = create(tmp_path / "call.wav")
    file.close()
    assert path == tmp_path / "call.wav"
    assert path.stat().st_mode & 0o777 == 0o600


def test_no_file_is_overwritten(tmp_path: Path) -> None:
    names = []
    for number in range(3):
        path, file = create(tmp_path / "call.wav")
        with file:
            file.write(b"%d" % number)
        names.append(path.name)
    assert names == ["call.wav", "call-2.wav", "call-3.wav"]
    assert [(tmp_path / name).read_bytes() for name in names] == [b"0", b"1", b"2"]


def test_the_number_of_tried_names_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private_files, "_MAX_NAMES", 2)
    for _ in range(2):
        create(tmp_path / "call.wav")[1].close()
    with pytest.raises(FileExistsError, match="2 files of that name"):
        create(tmp_path / "call.wav")


def test_new_folders_are_private(tmp_path: Path, logged: Logged) -> None:
    options = TapOptions(record=tmp_path / "calls" / "wav", transcripts=tmp_path / "txt")
    make_directories(options)
    for folder in (options.record, options.transcripts):
        assert folder is not None
        assert folder.stat().st_mode & 0o777 == 0o700
    assert logged.text == ""


def test_an_existing_readable_folder_is_unchanged_and_logged(tmp_path: Path, logged: Logged) -> None:
    tmp_path.chmod(0o755)
    make_directories(TapOptions(record=tmp_path))
    assert tmp_path.stat().st_mode & 0o777 == 0o755
    assert f"can list {tmp_path} (mode 755)" in logged.text


def test_a_read_only_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DirectoryUnusable, match="Cannot write to"):
        make_directories(TapOptions(record=tmp_path / "file" / "wav"))
