"""records/call_store.py: calls continue whatever the disk does, and no written row is lost."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from moshi_phone.records import call_database
from moshi_phone.records.call_database import check_database, open_database
from moshi_phone.records.call_history import CallHistory
from moshi_phone.records.call_queries import find_rows, put_rows
from moshi_phone.records.call_row import CallRow, Outcome
from moshi_phone.records.call_search import CallSearch
from moshi_phone.records.call_store import CallStore
from tests.support.logs import Logged


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_database, "BUSY_SECS", 0.05)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "calls.db"
    check_database(path)
    return path


@contextmanager
def storing(path: Path, **options: int) -> Iterator[CallStore]:
    store = CallStore(path, pauses_secs=(0.02,), **options)
    store.start()
    yield store
    store.close(5)


def stored(path: Path) -> list[str]:
    with open_database(path, read_only=True) as database:
        return [row.id for row in reversed(find_rows(database, CallSearch(limit=2_000)))]


def row(number: int, **more: str) -> CallRow:
    return CallRow(id=f"r{number}", began_at=f"2026-11-30T08:{number // 60:02}:{number % 60:02}.000Z", **more)  # type: ignore[arg-type]


async def test_rows_are_written_and_found(path: Path) -> None:
    with storing(path) as store:
        for number in range(3):
            store.put(row(number))
        store.put(row(0, reason="the last word counts"))
        assert store.flush(5)
        found = await store.read(lambda database: find_rows(database, CallSearch()))
        assert [(one.id, one.reason) for one in found] == [
            ("r2", ""),
            ("r1", ""),
            ("r0", "the last word counts"),
        ]
        store.put(row(3))
        await store.delete({"r0", "r3"})
        assert store.flush(5)
    assert stored(path) == ["r1", "r2"]


def test_waiting_rows_are_written_at_the_end(path: Path) -> None:
    store = CallStore(path)
    store.put(row(0))
    store.start()
    store.close(5)
    assert stored(path) == ["r0"]


def test_a_row_that_cannot_be_written_does_not_block_others(path: Path, logged: Logged) -> None:
    with storing(path) as store:
        store.put(row(0, text=object()))  # type: ignore[arg-type]
        assert store.flush(5)
        store.put(row(1))
        assert store.flush(5)
    assert stored(path) == ["r1"]
    assert "1 calls cannot be written, and are left out" in logged.text


def test_a_locked_database(path: Path, logged: Logged) -> None:
    """Rows wait; above the limit, the oldest are dropped and logged."""
    locker = sqlite3.connect(path, isolation_level=None)
    with storing(path, max_waiting=4) as store:
        store.put(row(0))
        assert store.flush(5)
        locker.execute("BEGIN IMMEDIATE")
        for number in range(1, 8):
            store.put(row(number))
        assert not store.flush(0.3)
        assert "database is locked" in (store.error or "")
        locker.execute("ROLLBACK")
        assert store.flush(5)
        assert store.error is None
    assert stored(path) == ["r0", "r4", "r5", "r6", "r7"]
    assert logged.text.count("Cannot write rows of calls") == 1
    assert f"Calls that were not written to {path}: 3. Too many waited." in logged.text
    assert "again" in logged.text
    locker.close()


def test_a_full_disk(path: Path, logged: Logged, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit on SQLite's pages stands for a full disk: SQLITE_FULL, and nothing is written."""
    full, opened = [False], call_database._set_up

    def set_up(database: sqlite3.Connection) -> None:
        opened(database)
        if full[0]:
            database.execute("PRAGMA max_page_count = 1")

    monkeypatch.setattr(call_database, "_set_up", set_up)
    with storing(path) as store:
        store.put(row(0))
        assert store.flush(5)
        full[0] = True
        for number in range(1, 4):
            store.put(row(number, reason="x" * 20_000))
        assert not store.flush(0.3)
        assert "full" in (store.error or "")
        assert stored(path) == ["r0"]
        full[0] = False
        assert store.flush(5)
    assert stored(path) == ["r0", "r1", "r2", "r3"]
    assert logged.text.count("Cannot write rows of calls") == 1


@pytest.mark.parametrize("when", ["before the start", "while it runs"])
def test_a_damaged_database_is_set_aside(path: Path, logged: Logged, when: str) -> None:
    with open_database(path) as database:
        rows = [row(number, reason="x" * 500, ended_at="x") for number in range(200)]
        put_rows(database, rows)
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def damage() -> None:
        raw = bytearray(path.read_bytes())
        raw[4096 : len(raw) - 4096] = b"\xa5" * (len(raw) - 8192)
        path.write_bytes(raw)

    if when == "before the start":
        damage()
        check_database(path)
    with storing(path) as store:
        if when == "while it runs":
            assert store.flush(5)
            damage()
        store.put(row(1))
        store.put(row(999))
        assert store.flush(5)
    assert stored(path) == ["r1", "r999"]
    (aside,) = path.parent.glob("calls.db.damaged-*Z")
    assert aside.stat().st_size > 50_000
    assert logged.text.count("is damaged") == 1
    assert str(aside) in logged.text


def test_a_missing_folder(path: Path, logged: Logged) -> None:
    with storing(path) as store:
        assert store.flush(5)
        for one in path.parent.iterdir():
            one.unlink()
        path.parent.rmdir()
        store.put(row(0))
        assert not store.flush(0.2)
        path.parent.mkdir()
        assert store.flush(5)
    assert stored(path) == ["r0"]


def test_a_hanging_disk_does_not_delay_the_end(
    path: Path, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    locker = sqlite3.connect(path, isolation_level=None)
    locker.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(call_database, "BUSY_SECS", 60.0)
    store = CallStore(path)
    store.start()
    store.put(row(0))
    store.flush(0.1)
    store.close(0.1)
    assert f"Calls that were not written to {path}: 1." in logged.text
    locker.close()


KILLED = """
import sys
from pathlib import Path
from moshi_phone.records.call_history import CallHistory
from moshi_phone.records.call_row import CallRow, Outcome
from moshi_phone.records.call_store import CallStore
store = CallStore(Path(sys.argv[1]))
store.start()
CallHistory(store).add(CallRow(call_sid="CA1", outcome=Outcome.RUNNING))
assert store.flush(10)
print("stored", flush=True)
sys.stdin.read()
"""


def test_the_calls_of_a_killed_process_are_marked_at_the_next_start(path: Path) -> None:
    """They stayed "running" for five hours. Those of other running processes are not changed."""
    with (
        storing(path) as other,
        subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", KILLED, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as killed,
    ):
        CallHistory(other).add(CallRow(call_sid="CA2", outcome=Outcome.RUNNING))
        assert killed.stdout
        assert killed.stdout.readline() == "stored\n"
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert other.flush(5)
        next_one, told = CallStore(path), list[CallRow]()
        next_one.on_interrupted = told.extend
        next_one.start()
        next_one.close(5)
        with open_database(path, read_only=True) as database:
            found = {row.call_sid: row for row in find_rows(database, CallSearch())}
        assert {sid: row.outcome for sid, row in found.items()} == {
            "CA1": Outcome.INTERRUPTED,
            "CA2": Outcome.RUNNING,
        }
        assert told == [found["CA1"]]
        assert [one.name for one in path.parent.glob("*.run-*")] == [f"calls.db.run-{other.run_id}"]
    assert not list(path.parent.glob("*.run-*"))
