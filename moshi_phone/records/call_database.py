"""The SQLite database of ``--calls-db``: one table, one row for each call. Everything here blocks.

The application id in the header marks the file as this program's: no other file is ever written or moved. The
user version is the schema's version.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from moshi_phone.records.call_row import RUN_ID_CHARS, CallRow, Kind, Outcome, utc_text
from moshi_phone.records.call_search import CallSearch
from moshi_phone.records.private_files import FILE_MODE, FOLDER_MODE
from moshi_phone.runtime.errors import UserError

APPLICATION_ID = 0x4D6F5068  # "MoPh"
SCHEMA_VERSION = 1
BUSY_SECS = 5.0
"""How long a statement waits for another process' lock."""
ABANDONED = "the program ended meanwhile"
LONGEST_CALL_HOURS = 5  # Twilio's own limit is four
# Prefixes of SQLite's error names: a damaged file; and errors that may pass by themselves.
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
_PASSING = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL")
_SCHEMA = """
CREATE TABLE calls (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    call_sid TEXT NOT NULL,
    began_at TEXT NOT NULL,
    ended_at TEXT,
    from_number TEXT NOT NULL,
    to_number TEXT NOT NULL,
    direction TEXT NOT NULL,
    section TEXT,
    engine TEXT NOT NULL,
    secs REAL NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT NOT NULL,
    transfer_to TEXT,
    transfer_outcome TEXT,
    transfer_secs REAL,
    consent TEXT,
    metrics TEXT NOT NULL,
    files TEXT NOT NULL,
    text TEXT
) WITHOUT ROWID;
CREATE INDEX calls_by_time ON calls (began_at, id);
"""
COLUMNS = tuple(field.name for field in fields(CallRow))
_PUT = (
    f"INSERT OR REPLACE INTO calls ({', '.join(COLUMNS)}) "  # noqa: S608 - names of our own
    f"VALUES ({', '.join('?' * len(COLUMNS))})"
)
_SELECT = f"SELECT {', '.join(COLUMNS)} FROM calls"  # noqa: S608 - likewise
# The other person's number; the same rule as CallRow.party.
_PARTY = "(CASE WHEN direction LIKE 'outbound%' THEN to_number ELSE from_number END)"


class DatabaseUnusable(UserError):
    """The file is not a database of calls, or cannot become one; the message gives the remedy."""


def check_database(path: Path) -> None:
    """Check before the first call that the file is usable; create it if it does not exist.

    A locked or damaged database of this program is accepted: the store handles both while calls go on.

    Raises:
        DatabaseUnusable: in one sentence.
    """
    try:
        path.parent.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
        with open_database(path):
            pass
    except OSError as error:
        raise DatabaseUnusable(f"--calls-db: {path} cannot be made ({error.strerror}).") from error
    except sqlite3.Error as error:
        if is_damaged(error) and is_ours(path):
            return
        if is_damaged(error):
            raise DatabaseUnusable(
                f"--calls-db: {path} is no database of calls; name another file."
            ) from error
        if getattr(error, "sqlite_errorname", "").startswith(_PASSING):
            return
        raise DatabaseUnusable(f"--calls-db: {path} cannot be used ({error}).") from error


@contextmanager
def open_database(path: Path, *, read_only: bool = False) -> Iterator[sqlite3.Connection]:
    """Open the database with the current schema, and close it after the block.

    Args:
        path: created if missing, readable by its owner only.
        read_only: open without any change to the file.

    Raises:
        DatabaseUnusable: when the file is another program's, or has a later schema.
        sqlite3.Error, OSError: when it cannot be opened.
    """
    if not read_only:
        with suppress(FileExistsError):  # SQLite gives -wal and -shm the same mode
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, FILE_MODE))
    uri = f"{path.resolve().as_uri()}?mode={'ro' if read_only else 'rw'}"
    # isolation_level None: transactions begin and end explicitly, not by the module's rules.
    with closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECS, isolation_level=None)) as database:
        _look(database, path)
        if not read_only:
            _set_up(database)
        yield database


def _look(database: sqlite3.Connection, path: Path) -> None:
    version, application = _pragma(database, "user_version"), _pragma(database, "application_id")
    is_empty = database.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
    if application != APPLICATION_ID and not (is_empty and version == 0):
        raise DatabaseUnusable(f"--calls-db: {path} is another program's database; name another file.")
    if version > SCHEMA_VERSION:
        raise DatabaseUnusable(
            f"--calls-db: {path} was written by a later version of this program (schema {version}, this one "
            f"has {SCHEMA_VERSION}); update the program, or name another file."
        )


def _set_up(database: sqlite3.Connection) -> None:
    database.execute("PRAGMA journal_mode = WAL")  # readers do not block the writer
    database.execute("PRAGMA synchronous = FULL")  # committed rows survive a power cut
    database.execute("PRAGMA secure_delete = ON")  # deleted data of callers are overwritten
    with transaction(database):
        if _pragma(database, "user_version") == 0:  # another process may have been first
            for statement in _SCHEMA.strip().split(";")[:-1]:
                database.execute(statement)
            database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _pragma(database: sqlite3.Connection, name: str) -> int:
    return int(database.execute(f"PRAGMA {name}").fetchone()[0])


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """Run the block in a transaction: commit, or roll back on an exception."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # after a full disk, SQLite has already rolled back
            database.execute("ROLLBACK")
        raise


def is_damaged(error: sqlite3.Error) -> bool:
    """Return whether an error means that the file is damaged or not a database."""
    return getattr(error, "sqlite_errorname", "").startswith(_DAMAGED)


def is_ours(path: Path) -> bool:
    """Return whether the file's header marks it as this program's."""
    try:
        with path.open("rb") as file:
            header = file.read(72)
    except OSError:
        return False
    return header.startswith(b"SQLite format 3\0") and header[68:72] == APPLICATION_ID.to_bytes(4, "big")


def check_inside(database: sqlite3.Connection) -> None:
    """Check the database for damage.

    Raises:
        sqlite3.DatabaseError: when it is damaged.
    """
    found = str(database.execute("PRAGMA quick_check(1)").fetchone()[0])
    if found != "ok":
        error = sqlite3.DatabaseError(found)
        error.sqlite_errorname = "SQLITE_CORRUPT"
        raise error


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
            (Outcome.INTERRUPTED, ABANDONED, utc_text(now - timedelta(hours=LONGEST_CALL_HOURS))),
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
