"""Statements on the table of calls: insertion, search and deletion of rows. Everything here blocks."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from moshi_phone.records.call_database import transaction
from moshi_phone.records.call_row import RUN_ID_CHARS, CallRow, Kind, Outcome, utc_text
from moshi_phone.records.call_search import CallSearch

ABANDONED = "the program ended meanwhile"
MAX_CALL_HOURS = 5  # Twilio's own limit is four
COLUMNS = tuple(field.name for field in fields(CallRow))
_PUT = (
    f"INSERT OR REPLACE INTO calls ({', '.join(COLUMNS)}) "  # noqa: S608 - names of our own
    f"VALUES ({', '.join('?' * len(COLUMNS))})"
)
_SELECT = f"SELECT {', '.join(COLUMNS)} FROM calls"  # noqa: S608 - likewise
# The other person's number; the same rule as CallRow.party.
_PARTY = "(CASE WHEN direction LIKE 'outbound%' THEN to_number ELSE from_number END)"


def put_rows(database: sqlite3.Connection, rows: Iterable[CallRow]) -> None:
    """Write rows in one transaction; existing rows are replaced."""
    with transaction(database):
        database.executemany(_PUT, [_as_values(row) for row in rows])


def find_rows(database: sqlite3.Connection, search: CallSearch) -> list[CallRow]:
    """Return the matching rows, newest first."""
    where, values = _where(search)
    sql = f"{_SELECT} WHERE {where} ORDER BY began_at DESC, id DESC LIMIT ?"
    return [_as_row(values) for values in database.execute(sql, (*values, search.limit))]


def count_rows(database: sqlite3.Connection, search: CallSearch) -> int:
    """Return the number of matching rows, ignoring ``before`` and ``limit``."""
    where, values = _where(search, is_count=True)
    sql = f"SELECT count(*) FROM calls WHERE {where}"  # noqa: S608 - names of our own
    return int(database.execute(sql, values).fetchone()[0])


def get_row(database: sqlite3.Connection, row_id: str) -> CallRow | None:
    """Return the row with this id, or None."""
    values = database.execute(f"{_SELECT} WHERE id = ?", (row_id,)).fetchone()
    return None if values is None else _as_row(values)


def rows_of_party(database: sqlite3.Connection, number: str) -> list[CallRow]:
    """Return all calls with one person; ``number`` is their ``CallRow.party``."""
    return [_as_row(values) for values in database.execute(f"{_SELECT} WHERE {_PARTY} = ?", (number,))]


def delete_rows(database: sqlite3.Connection, ids: Iterable[str]) -> None:
    """Delete rows and all traces of them in the files."""
    with transaction(database):
        database.executemany("DELETE FROM calls WHERE id = ?", [(one,) for one in ids])
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def interrupt_abandoned(database: sqlite3.Connection, is_running: Callable[[str], bool]) -> list[CallRow]:
    """Mark the open calls of processes that were killed as interrupted; return their rows.

    Args:
        database: open.
        is_running: returns whether the process with a run ID (``CallStore.run_id``) still runs.
    """
    with transaction(database):
        found = database.execute(f"{_SELECT} WHERE ended_at IS NULL").fetchall()
        by_run: dict[str, list[CallRow]] = {}
        for row in map(_as_row, found):
            by_run.setdefault(row.id[:RUN_ID_CHARS], []).append(row)
        abandoned = [row for run_id, rows in by_run.items() if not is_running(run_id) for row in rows]
        database.executemany(
            "UPDATE calls SET outcome = ?, reason = ?, ended_at = began_at WHERE id = ?",
            [(Outcome.INTERRUPTED, ABANDONED, row.id) for row in abandoned],
        )
    return [
        replace(row, outcome=Outcome.INTERRUPTED, reason=ABANDONED, ended_at=row.began_at)
        for row in abandoned
    ]


def tidy(database: sqlite3.Connection, now: datetime, keep_days: int | None) -> int:
    """Mark abandoned calls as interrupted, and delete old rows; return the number of deleted rows.

    Args:
        database: open.
        now: the current time.
        keep_days: age limit of a row in days; None for no limit.
    """
    with transaction(database):
        database.execute(
            "UPDATE calls SET outcome = ?, reason = ?, ended_at = began_at "
            "WHERE ended_at IS NULL AND began_at < ?",
            (Outcome.INTERRUPTED, ABANDONED, utc_text(now - timedelta(hours=MAX_CALL_HOURS))),
        )
        if keep_days is None:
            return 0
        too_old = utc_text(now.astimezone(UTC) - timedelta(days=keep_days))
        return database.execute("DELETE FROM calls WHERE began_at < ?", (too_old,)).rowcount


def _where(search: CallSearch, *, is_count: bool = False) -> tuple[str, list[str]]:
    terms, values = ["1"], list[str]()
    if part := search.number_part:
        escaped = part.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        terms.append(r"(from_number LIKE ? ESCAPE '\' OR to_number LIKE ? ESCAPE '\')")
        values += [f"%{escaped}%"] * 2
    for term, value in (
        ("began_at >= ?", search.since),
        ("began_at < ?", search.until),
        ("outcome = ?", search.outcome),
    ):
        if value is not None:
            terms.append(term)
            values.append(value)
    if search.before and not is_count:
        terms.append("(began_at, id) < (?, ?)")
        values += search.before
    return " AND ".join(terms), values


def _as_values(row: CallRow) -> list[Any]:
    plain = {"metrics": json.dumps(dict(row.metrics)), "files": json.dumps(dict(row.files))}
    return [_storable(plain.get(name, getattr(row, name))) for name in COLUMNS]


def _storable(value: Any) -> Any:
    """Replace lone surrogates, which JSON allows and UTF-8 does not."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


def _as_row(values: tuple[Any, ...]) -> CallRow:
    named = dict(zip(COLUMNS, values, strict=True))
    for name in ("metrics", "files"):
        named[name] = json.loads(named[name])
    return CallRow(**named | {"kind": Kind(named["kind"]), "outcome": Outcome(named["outcome"])})
