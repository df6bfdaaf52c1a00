"""records/call_database.py: only our own files are changed."""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path

import pytest

from moshi_phone.records import call_database
from moshi_phone.records.call_database import SCHEMA_VERSION, DatabaseUnusable, check_database


def test_foreign_files_are_refused_and_left_alone(tmp_path: Path) -> None:
    text, other, later = (tmp_path / name for name in ("notes.txt", "other.db", "later.db"))
    text.write_text("Not a database, but long enough to be one. " * 20)
    database = sqlite3.connect(other)
    database.execute("CREATE TABLE things (id)")
    database.close()
    check_database(later)
    database = sqlite3.connect(later)
    database.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    database.close()
    for path, words in (
        (text, "notes.txt is no database of calls; name another file."),
        (other, "other.db is another program's database; name another file."),
        (later, "was written by a later version of this program (schema 2, this one has 1)"),
        (tmp_path, "cannot be"),
        (text / "calls.db", "cannot be created"),
    ):
        before = path.read_bytes() if path.is_file() else b""
        with pytest.raises(DatabaseUnusable, match="--calls-db") as raised:
            check_database(path)
        assert words in str(raised.value)
        assert str(raised.value).count("\n") == 0
        assert (path.read_bytes() if path.is_file() else b"") == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DatabaseUnusable, match="cannot be created"):
        check_database(tmp_path / "calls.db")


def test_a_locked_database_does_not_prevent_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moshi_phone.records.call_database.BUSY_SECS", 0.05)
    path = tmp_path / "calls.db"
    check_database(path)
    locker = sqlite3.connect(path, isolation_level=None)
    locker.execute("PRAGMA locking_mode = EXCLUSIVE")
    locker.execute("BEGIN EXCLUSIVE")
    check_database(path)
    locker.close()


def test_a_file_that_another_process_is_setting_up_is_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, pragma, setting_up = tmp_path / "calls.db", call_database._pragma, list[threading.Thread]()

    def slow_pragma(database: sqlite3.Connection, name: str) -> int:
        value = pragma(database, name)
        if name == "application_id" and not setting_up:  # before the last read that decides whose file it is
            setting_up.append(threading.Thread(target=check_database, args=(path,)))
            setting_up[0].start()
            setting_up[0].join(0.2)
        return value

    monkeypatch.setattr(call_database, "_pragma", slow_pragma)
    check_database(path)
    setting_up[0].join()
