"""records/call_database.py: one row a call, whole or not there; no file but our own is touched."""

from __future__ import annotations

import os
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from moshi_phone.records.call_database import (
    SCHEMA_VERSION,
    DatabaseUnusable,
    check_database,
    delete_rows,
    find_rows,
    get_row,
    open_database,
    put_rows,
    rows_of_party,
    tidy,
)
from moshi_phone.records.call_row import CallRow, Kind, Outcome, utc_text
from moshi_phone.records.call_search import CallSearch

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
FULL = CallRow(
    id="f0",
    kind=Kind.MESSAGE,
    call_sid="CA0",
    began_at=utc_text(NOW),
    ended_at=utc_text(NOW + timedelta(seconds=72.4)),
    from_number="+15551234567",
    to_number="+15550001111",
    section="dentist",
    engine="moshi",
    secs=72.4,
    outcome=Outcome.TRANSFERRED,
    reason="José’s “call”",
    transfer_to="+15559990000",
    transfer_outcome="no-answer",
    transfer_secs=12.0,
    consent="told",
    metrics={"frames": 905, "conversation": {"turns": 3}},
    files={"recording": "/var/calls/a.wav"},
    text="Please call me back.",
)


def test_a_row_comes_back_as_it_was_put(tmp_path: Path) -> None:
    path = tmp_path / "new" / "calls.db"
    check_database(path)
    with open_database(path) as database:
        put_rows(database, [CallRow(id="f0"), FULL])
        assert get_row(database, "f0") == FULL
        assert get_row(database, "f1") is None
    for part in ("", "-wal", "-shm"):
        other = path.with_name(path.name + part)
        assert not other.exists() or other.stat().st_mode & 0o777 == 0o600
    with open_database(path, read_only=True) as database:
        assert find_rows(database, CallSearch()) == [FULL]
        with pytest.raises(sqlite3.OperationalError):
            put_rows(database, [FULL])


def test_half_a_character_is_stored_as_a_question_mark(tmp_path: Path) -> None:
    with open_database(tmp_path / "calls.db") as database:
        put_rows(database, [CallRow(id="a", call_sid="CA\ud800", metrics={"\ud800": "\ud800"})])
        row = get_row(database, "a")
    assert row is not None
    assert row.call_sid == "CA?"


def test_what_is_deleted_of_a_caller_is_not_in_the_file(tmp_path: Path) -> None:
    path, number = tmp_path / "calls.db", "+15551234567"
    mine = [CallRow(id="a", from_number=number), CallRow(id="b", to_number=number, direction="outbound-api")]
    others = [CallRow(id="c", to_number=number), CallRow(id="d", from_number=number + "8")]
    with open_database(path) as database:
        put_rows(database, [*mine, *others])
        assert {row.id for row in rows_of_party(database, number)} == {"a", "b"}
        delete_rows(database, ["a", "b"])
        assert {row.id for row in find_rows(database, CallSearch())} == {"c", "d"}
        put_rows(database, [CallRow(id="c"), CallRow(id="d")])
        delete_rows(database, [])
        for part in ("", "-wal"):
            assert number.encode() not in path.with_name(path.name + part).read_bytes()


def test_what_is_too_old_is_deleted_and_what_never_ended_is_ended(tmp_path: Path) -> None:
    rows = [CallRow(id=str(hours), began_at=utc_text(NOW - timedelta(hours=hours))) for hours in (1, 6, 49)]
    with open_database(tmp_path / "calls.db") as database:
        put_rows(database, rows)
        assert tidy(database, NOW, None) == 0
        assert [(row.id, row.outcome) for row in find_rows(database, CallSearch())] == [
            ("1", Outcome.CONNECTING),
            ("6", Outcome.INTERRUPTED),
            ("49", Outcome.INTERRUPTED),
        ]
        assert tidy(database, NOW, 2) == 1
        assert [row.id for row in find_rows(database, CallSearch())] == ["1", "6"]


def test_files_that_are_not_ours_are_refused_and_left_alone(tmp_path: Path) -> None:
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
        (text / "calls.db", "cannot be made"),
    ):
        before = path.read_bytes() if path.is_file() else b""
        with pytest.raises(DatabaseUnusable, match="--calls-db") as raised:
            check_database(path)
        assert words in str(raised.value)
        assert str(raised.value).count("\n") == 0
        assert (path.read_bytes() if path.is_file() else b"") == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_leave_to_write(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DatabaseUnusable, match="cannot be made"):
        check_database(tmp_path / "calls.db")


def test_a_database_that_is_locked_is_no_reason_not_to_start(
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
