"""The SQLite database of ``--calls-db``: one table, one row for each call. Everything here blocks.

The application id in the header marks the file as this program's: no other file is ever written or moved. The
user version is the schema's version.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from moshi_phone.records.private_files import FILE_MODE, FOLDER_MODE
from moshi_phone.runtime.errors import UserError

APPLICATION_ID = 0x4D6F5068  # "MoPh"
SCHEMA_VERSION = 1
BUSY_SECS = 5.0
"""How long a statement waits for another process' lock."""
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


class DatabaseUnusable(UserError):
    """The file is not a database of calls, or cannot become one; the message gives the remedy."""


def check_database(path: Path) -> None:
    """Check before the first call that the file is usable; create it if it does not exist.

    A locked or damaged database of this program is accepted: the store handles both during calls.

    Raises:
        DatabaseUnusable: in one sentence.
    """
    try:
        path.parent.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
        with open_database(path):
            pass
    except OSError as error:
        raise DatabaseUnusable(f"--calls-db: {path} cannot be created ({error.strerror}).") from error
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
    database.execute("BEGIN")  # all of one state: another process may be setting the file up
    version, application = _pragma(database, "user_version"), _pragma(database, "application_id")
    is_empty = database.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
    database.execute("COMMIT")
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
