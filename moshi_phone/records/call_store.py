"""Asynchronous writer of call rows to the database, in one thread, so that a slow disk delays no call.

The queue holds the last version of at most 1,000 rows. Overflow drops the oldest, and the log reports their
number. Disk errors never affect a call.
"""

from __future__ import annotations

import secrets
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from filelock import BaseFileLock, FileLock, Timeout
from loguru import logger

from moshi_phone.records.call_database import (
    DatabaseUnusable,
    check_inside,
    is_damaged,
    is_ours,
    open_database,
)
from moshi_phone.records.call_queries import delete_rows, interrupt_abandoned, put_rows, rows_of_party, tidy
from moshi_phone.records.call_row import RUN_ID_CHARS, CallRow
from moshi_phone.records.private_files import FILE_MODE
from moshi_phone.runtime.daemon_threads import in_daemon_thread
from moshi_phone.runtime.retries import ExponentialBackoff

MAX_WAITING = 1_000
TIDY_SECS = 3600.0
PAUSES_SECS = (1.0, 5.0, 30.0, 60.0)
_PARTS = ("", "-wal", "-shm")
_BUGS = (sqlite3.ProgrammingError, sqlite3.InterfaceError, TypeError, ValueError, OverflowError)

T = TypeVar("T")


class CallStore:
    """Owns the thread and its queue. ``start`` starts the thread.

    Args:
        path: the database's path.
        keep_days: age limit of a row in days; None for no limit.
        pauses_secs: pauses after consecutive failures.
        max_waiting: maximum number of queued rows.
    """

    def __init__(
        self,
        path: Path,
        keep_days: int | None = None,
        *,
        pauses_secs: tuple[float, ...] = PAUSES_SECS,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self.path = path
        self.error: str | None = None
        """Why rows cannot be written at present, in one sentence; None without an error."""
        self.run_id = secrets.token_hex(RUN_ID_CHARS // 2)  # in each row: shows whose calls were abandoned
        self.on_interrupted: Callable[[list[CallRow]], None] = lambda _: None
        """Called in the thread with the calls of killed processes, after they were marked as interrupted."""
        self._lock: BaseFileLock | None = None  # held while this process runs; shows others that it does
        self._keep_days = keep_days
        self._pauses = ExponentialBackoff(pauses_secs)  # between attempts on a full or locked disk
        self._max_waiting = max_waiting
        # Guards all state below, between the event loop and the thread.
        self._changed = threading.Condition()
        self._waiting: dict[str, CallRow] = {}  # by id, the oldest first: only the last version is written
        self._writing: dict[str, CallRow] = {}  # the batch that the thread is writing
        self._is_busy = False  # the thread is inside the database
        self._lost = 0  # rows dropped by a full queue since the last success
        self._is_closing = False  # the thread ends when nothing waits
        self._thread: threading.Thread | None = None  # from start() to close()

    def start(self) -> None:
        """Start the thread. Does not block."""
        # A daemon: a disk that never answers must not keep the process from ending.
        self._is_busy = True  # until the first round is over
        self._thread = threading.Thread(target=self._run, name="calls-db", daemon=True)
        self._thread.start()

    def put(self, row: CallRow) -> None:
        """Queue a row. Does not block."""
        with self._changed:
            self._waiting.pop(row.id, None)
            self._waiting[row.id] = row
            self._bound()
            self._changed.notify_all()

    def flush(self, within_secs: float) -> bool:
        """Wait until the queue is empty; return whether it was within the time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._is_busy, within_secs)

    def close(self, within_secs: float) -> None:
        """Write the queued rows as far as possible in this time, and stop."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(within_secs)
        if left := len(self._waiting | self._writing) + self._lost:
            why = self.error or "No time was left."
            logger.error("Calls that were not written to {}: {}. {}", self.path, left, why)

    async def read(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """Run a query in a separate thread, on its own connection.

        Raises:
            sqlite3.Error, OSError: when the query fails.
        """

        def ask() -> T:
            with open_database(self.path, read_only=True) as database:
                return question(database)

        return await in_daemon_thread(ask, "calls-db-read")

    async def delete(self, ids: set[str]) -> None:
        """Delete rows, including queued ones.

        Raises:
            sqlite3.Error, OSError: when the deletion fails.
        """

        def delete() -> None:
            with self._changed:
                self._waiting = {key: row for key, row in self._waiting.items() if key not in ids}
                self._changed.wait_for(lambda: not self._is_busy, 10)
            with open_database(self.path) as database:
                delete_rows(database, ids)

        await in_daemon_thread(delete, "calls-db-delete")

    async def of_party(self, number: str) -> list[CallRow]:
        """Return all stored calls with one person.

        Raises:
            sqlite3.Error, OSError: when the query fails.
        """
        return await self.read(lambda database: rows_of_party(database, number))

    def _bound(self) -> None:
        while len(self._waiting) > self._max_waiting:
            del self._waiting[next(iter(self._waiting))]
            self._lost += 1

    # The methods below run in the thread.

    def _run(self) -> None:
        tidied_s = -TIDY_SECS
        self._lock = self._lock_run()
        while True:
            with self._changed:
                left_s = max(0.0, tidied_s + TIDY_SECS - time.monotonic())
                self._changed.wait_for(lambda: self._waiting or self._is_closing, left_s)
                self._writing, self._waiting, self._is_busy = self._waiting, {}, True
            rows = self._writing
            is_closing = self._is_closing
            try:
                with open_database(self.path) as database:
                    if time.monotonic() - tidied_s >= TIDY_SECS:
                        if tidied_s < 0:  # once at startup, so that nothing is written to a damaged file
                            check_inside(database)
                        self._tidy(database)
                        tidied_s = time.monotonic()
                    if rows:
                        put_rows(database, rows.values())
                self._recovered()
                rows = {}  # written: nothing to put back below
            except _BUGS as error:  # these rows can never be written, and must not block others
                logger.opt(exception=error).error("{} calls cannot be written, and are left out", len(rows))
                rows = {}
            except (sqlite3.Error, OSError, DatabaseUnusable) as error:
                self._failed(error)
            finally:
                with self._changed:
                    # Requeue a failed batch; newer versions of the same rows win.
                    self._waiting = rows | self._waiting
                    self._bound()
                    self._writing, self._is_busy = {}, False
                    self._changed.notify_all()
            if is_closing:
                self._unlock_run()
                return
            if self.error is not None:
                self._pause()

    def _pause(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_closing, self._pauses.next_secs())

    def _tidy(self, database: sqlite3.Connection) -> None:
        if interrupted := interrupt_abandoned(database, self._is_running):
            logger.warning("Calls that ended with an earlier process: {}", len(interrupted))
            self.on_interrupted(interrupted)
        if deleted := tidy(database, datetime.now(UTC), self._keep_days):
            logger.info("Deleted {} calls older than {} days from {}", deleted, self._keep_days, self.path)

    def _run_path(self, run_id: str) -> Path:
        return self.path.with_name(f"{self.path.name}.run-{run_id}")

    def _lock_run(self) -> BaseFileLock | None:
        lock = FileLock(self._run_path(self.run_id), timeout=0, mode=FILE_MODE)
        try:
            lock.acquire()
        except (OSError, Timeout):  # a folder that cannot be written; the database reports it
            return None
        return lock

    def _unlock_run(self) -> None:
        if self._lock is not None:
            self._lock.release()
            with suppress(OSError):
                self._run_path(self.run_id).unlink(missing_ok=True)

    def _is_running(self, run_id: str) -> bool:
        path = self._run_path(run_id)
        if run_id == self.run_id or not path.exists():
            return run_id == self.run_id
        try:
            # The kernel has released the lock of a killed process.
            with FileLock(path, timeout=0, mode=FILE_MODE):
                path.unlink(missing_ok=True)
        except Timeout:
            return True
        except OSError:
            pass
        return False

    def _recovered(self) -> None:
        if self.error is not None:
            logger.info("Calls are written to {} again", self.path)
        if self._lost:
            logger.error("Calls that were not written to {}: {}. Too many waited.", self.path, self._lost)
        self.error, self._lost = None, 0
        self._pauses.reset()

    def _failed(self, error: Exception) -> None:
        if isinstance(error, sqlite3.Error) and is_damaged(error) and is_ours(self.path):
            self._put_aside(error)
            return
        if self.error is None:  # log the first failure only
            logger.error(
                "Cannot write rows of calls to {} ({}); they wait in memory, and writing is retried",
                self.path,
                error,
            )
        self.error = f"Calls cannot be written to {self.path} now ({error})."

    def _put_aside(self, error: sqlite3.Error) -> None:
        aside = self.path.with_name(f"{self.path.name}.damaged-{datetime.now(UTC):%Y-%m-%dT%H-%M-%SZ}")
        try:
            for part in _PARTS:
                source = self.path.with_name(self.path.name + part)
                if source.exists():
                    source.rename(aside.with_name(aside.name + part))
        except OSError as stuck:
            self.error = f"{self.path} is damaged, and cannot be moved ({stuck.strerror})."
            logger.error("{}", self.error)
            return
        self._pauses.reset()
        self.error = f"{self.path} was damaged."
        logger.error(
            "{} is damaged ({}) and was moved to {}, from which sqlite3's .recover gets what is whole; "
            "calls are written to a new one",
            self.path,
            error,
            aside,
        )
