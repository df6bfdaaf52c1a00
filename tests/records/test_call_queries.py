"""records/call_queries.py: a row is stored completely, found again, and deleted without a trace."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from moshi_phone.records.call_database import check_database, open_database
from moshi_phone.records.call_queries import delete_rows, find_rows, get_row, put_rows, rows_of_party, tidy
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


def test_a_row_is_read_as_it_was_written(tmp_path: Path) -> None:
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


def test_half_a_surrogate_pair_is_stored_as_a_question_mark(tmp_path: Path) -> None:
    with open_database(tmp_path / "calls.db") as database:
        put_rows(database, [CallRow(id="a", call_sid="CA\ud800", metrics={"\ud800": "\ud800"})])
        row = get_row(database, "a")
    assert row is not None
    assert row.call_sid == "CA?"


def test_deleted_data_of_a_caller_is_not_in_the_file(tmp_path: Path) -> None:
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


def test_old_rows_are_deleted_and_unfinished_ones_are_marked_interrupted(tmp_path: Path) -> None:
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
