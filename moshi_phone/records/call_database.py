"""The file of ``--calls-db``: SQLite, one table, one row a call. Everything here blocks.

The application id in its header says that the file is ours, so that no other is ever written to or moved; the
user version says which schema it has.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from moshi_phone.records.call_row import CallRow, Kind, Outcome, utc_text
from moshi_phone.records.call_search import CallSearch
from moshi_phone.records.private_files import FILE_MODE, FOLDER_MODE
from moshi_phone.runtime.errors import UserError

APPLICATION_ID = 0x4D6F5068  # "MoPh"
SCHEMA_VERSION = 1
BUSY_SECS = 5.0
"""How long a statement waits for another process that writes."""
LONGEST_CALL_HOURS = 5  # Twilio's own limit is four
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
# The person at the other end, as CallRow.party has it.
_PARTY = "(CASE WHEN direction LIKE 'outbound%' THEN to_number ELSE from_number END)"


class DatabaseUnusable(UserError):
    """The file is not a database of calls, or cannot be one; the text says what to do."""


def check_database(path: Path) -> None:
    """Make sure, before the first call, that the file can be used; it is made where there is none.

    A database that another process has locked, or whose inside is damaged, is no mistake of the user's: the
    store sees to it while calls are answered.

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
    """Open the database, its schema up to date, and close it.

    Args:
        path: made where there is none, so that its owner alone may read it.
        read_only: leaves it as it is.

    Raises:
        DatabaseUnusable: when it is another program's, or a later version's.
        sqlite3.Error, OSError: when it cannot be opened.
    """
    if not read_only:
        with suppress(FileExistsError):  # its -wal and -shm have its mode
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, FILE_MODE))
    uri = f"{path.resolve().as_uri()}?mode={'ro' if read_only else 'rw'}"
    # Transactions are begun and ended here (isolation_level None), never by the module's guess.
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
    database.execute("PRAGMA journal_mode = WAL")  # who reads does not hold up who writes
    database.execute("PRAGMA synchronous = FULL")  # a row that was written is there after a power cut
    database.execute("PRAGMA secure_delete = ON")  # what is deleted of a caller is overwritten
    with transaction(database):
        if _pragma(database, "user_version") == 0:  # asked again, as another process may have been quicker
            for statement in _SCHEMA.strip().split(";")[:-1]:
                database.execute(statement)
            database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _pragma(database: sqlite3.Connection, name: str) -> int:
    return int(database.execute(f"PRAGMA {name}").fetchone()[0])


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """Do all of the block or nothing of it."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # a full disk has rolled it back already
            database.execute("ROLLBACK")
        raise


def is_damaged(error: sqlite3.Error) -> bool:
    """Tell whether an error says that the file is damaged, or no database."""
    return getattr(error, "sqlite_errorname", "").startswith(_DAMAGED)


def is_ours(path: Path) -> bool:
    """Tell by the file's header whether it was made here."""
    try:
        with path.open("rb") as file:
            header = file.read(72)
    except OSError:
        return False
    return header.startswith(b"SQLite format 3\0") and header[68:72] == APPLICATION_ID.to_bytes(4, "big")


def check_inside(database: sqlite3.Connection) -> None:
    """Look for damage.

    Raises:
        sqlite3.DatabaseError: when there is any.
    """
    found = str(database.execute("PRAGMA quick_check(1)").fetchone()[0])
    if found != "ok":
        error = sqlite3.DatabaseError(found)
        error.sqlite_errorname = "SQLITE_CORRUPT"
        raise error


def put_rows(database: sqlite3.Connection, rows: Iterable[CallRow]) -> None:
    """Write rows in one transaction; those that are there are replaced."""
    with transaction(database):
        database.executemany(_PUT, [_as_values(row) for row in rows])


def find_rows(database: sqlite3.Connection, search: CallSearch) -> list[CallRow]:
    """Return the rows that are looked for, the newest first."""
    where, values = _where(search)
    sql = f"{_SELECT} WHERE {where} ORDER BY began_at DESC, id DESC LIMIT ?"
    return [_as_row(values) for values in database.execute(sql, (*values, search.limit))]


def count_rows(database: sqlite3.Connection, search: CallSearch) -> int:
    """Count the rows that are looked for, ``before`` and ``limit`` left aside."""
    where, values = _where(search, is_count=True)
    sql = f"SELECT count(*) FROM calls WHERE {where}"  # noqa: S608 - names of our own
    return int(database.execute(sql, values).fetchone()[0])


def get_row(database: sqlite3.Connection, row_id: str) -> CallRow | None:
    """Return one row."""
    values = database.execute(f"{_SELECT} WHERE id = ?", (row_id,)).fetchone()
    return None if values is None else _as_row(values)


def rows_of_party(database: sqlite3.Connection, number: str) -> list[CallRow]:
    """Return all calls with one person, as ``CallRow.party`` has the number."""
    return [_as_row(values) for values in database.execute(f"{_SELECT} WHERE {_PARTY} = ?", (number,))]


def delete_rows(database: sqlite3.Connection, ids: Iterable[str]) -> None:
    """Delete rows, so that nothing of them stays in the file."""
    with transaction(database):
        database.executemany("DELETE FROM calls WHERE id = ?", [(one,) for one in ids])
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def tidy(database: sqlite3.Connection, now: datetime, keep_days: int | None) -> int:
    """End what no process will end any more, and delete what is too old; gives how many were deleted.

    Args:
        database: open.
        now: the time.
        keep_days: how many days a row is kept; None for ever.
    """
    with transaction(database):
        database.execute(
            "UPDATE calls SET outcome = ?, reason = 'the program ended meanwhile', ended_at = began_at "
            "WHERE ended_at IS NULL AND began_at < ?",
            (Outcome.INTERRUPTED, utc_text(now - timedelta(hours=LONGEST_CALL_HOURS))),
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
    """Replace half surrogate pairs, which JSON can spell and UTF-8 cannot."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


def _as_row(values: tuple[Any, ...]) -> CallRow:
    named = dict(zip(COLUMNS, values, strict=True))
    for name in ("metrics", "files"):
        named[name] = json.loads(named[name])
    return CallRow(**named | {"kind": Kind(named["kind"]), "outcome": Outcome(named["outcome"])})
