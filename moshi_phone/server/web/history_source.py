"""Data of the Calls page: rows from memory and from the database, files, running calls."""

from __future__ import annotations

import asyncio
import platform
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from fastapi import HTTPException
from loguru import logger

from moshi_phone.engines.duplex import Unsupported
from moshi_phone.records import call_files
from moshi_phone.records.call_queries import count_rows, find_rows, get_row
from moshi_phone.records.call_row import CallRow
from moshi_phone.records.call_search import CallSearch, newest_first
from moshi_phone.records.call_store import CallStore
from moshi_phone.records.levels import read_levels
from moshi_phone.runtime.daemon_threads import in_daemon_thread
from moshi_phone.server.calls.call import Call, CallClosed
from moshi_phone.server.calls.control import CallControl
from moshi_phone.server.calls.erasing import ErasingFailed, erase, is_one_person
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.calls.summary import words
from moshi_phone.server.web.monitoring import metrics_of
from moshi_phone.server.web.page_file import PIECE_BYTES, read_piece

# Fields of a row that the list shows under their own names.
_LISTED = (
    *("id", "kind", "began_at", "ended_at", "direction", "section", "engine", "secs", "outcome", "reason"),
    *("consent", "text"),
)
_READERS = 2  # concurrent reads of the disk; further requests wait

T = TypeVar("T")


class HistorySource:
    """Implements ``CallsPage`` for one process.

    Args:
        state: shared state of the server.
    """

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._reading = asyncio.Semaphore(_READERS)  # bounds the threads that read the database and files

    async def find(self, search: CallSearch, others: Sequence[CallRow] = ()) -> dict[str, Any]:
        """See ``CallsPage``.

        Args:
            search: which rows.
            others: rows in the memory of other processes.
        """
        store, rows, error = self._state.history.store, list[CallRow](), None
        recent = [*self._state.history.rows, *others]
        total = sum(map(replace(search, before=None).matches, recent))  # the cursor must not reduce the total
        wider = replace(search, limit=search.limit + 1)  # one more row shows whether there is another page
        if isinstance(store, CallStore):
            try:
                rows, total = await self._search(store, wider)
                error = store.error
            except (sqlite3.Error, OSError) as failure:
                error = f"{store.path} cannot be read now ({failure}): these are the calls in memory."
        found = newest_first(wider, rows, recent)  # memory wins: a row may not be written yet
        return {
            "calls": [self._brief(row) for row in found[: search.limit]],
            "more": len(found) > search.limit,
            "total": total,
            "is_stored": isinstance(store, CallStore),
            "error": error,
        }

    async def running(self) -> dict[str, Any]:
        """See ``CallsPage``."""
        known = {row.call_sid: row for row in self._state.history.rows if row.is_open}
        calls = sorted(self._state.calls.running, key=lambda call: call.began_s)
        can_say = "say" in self._state.engine.capabilities
        return {
            "version": str(self._state.history.version),
            "running": [  # changes with every call: the page then reloads its list
                self._brief(row)
                | {"secs": round(call.secs, 1), "can_say": can_say, "can_transfer": self._can_transfer(call)}
                for call in calls
                if (row := known.get(call.start.call_sid))  # a call without a webhook or a row is not listed
            ],
        }

    async def _search(self, store: CallStore, search: CallSearch) -> tuple[list[CallRow], int]:
        """Return the matching rows of the database, and how many there are without the search's limit."""
        async with self._reading:
            return await store.read(
                lambda database: (find_rows(database, search), count_rows(database, search))
            )

    def is_over(self) -> bool:
        """See ``CallsPage``."""
        return self._state.calls.closing is not None and not self._state.calls.running

    async def rows_in_memory(self) -> list[CallRow]:
        """Return the rows in memory, without metrics, which the list does not show."""
        return [replace(row, metrics={}) for row in self._state.history.rows]

    @property
    def database(self) -> str:
        """Machine and path of the database; empty without one."""
        store = self._state.history.store
        return f"{platform.node()}:{store.path.absolute()}" if isinstance(store, CallStore) else ""

    async def stored_rows(self, search: CallSearch, known: str) -> tuple[str, list[CallRow], int]:
        """Return ``database``, its matching rows without metrics, and their number.

        Args:
            search: which rows.
            known: the asking process's ``database``; if it is this one, nothing is read.
        """
        store = self._state.history.store
        if not isinstance(store, CallStore) or self.database == known:
            return known, [], 0
        try:
            rows, total = await self._search(store, search)
        except (sqlite3.Error, OSError) as failure:
            logger.warning("{} cannot be read now ({})", store.path, failure)
            return self.database, [], 0
        return self.database, [replace(row, metrics={}) for row in rows], total

    async def has_row(self, row_id: str, known: str | None = None) -> bool:
        """Return whether a row is here.

        Args:
            row_id: its ID.
            known: ``database`` of the asking process, which has looked into it; None for memory only.
        """
        if self._state.history.get(row_id) is not None:
            return True
        if known is None or self.database in ("", known):
            return False
        try:
            await self.row(row_id)
        except HTTPException:
            return False
        return True

    async def row(self, row_id: str) -> CallRow:
        """Return a row.

        Raises:
            HTTPException: 404 if there is none, 503 if the database cannot be read.
        """
        history = self._state.history
        row = history.get(row_id)  # memory first: it has the newest state
        if row is None and isinstance(history.store, CallStore):
            try:
                async with self._reading:
                    row = await history.store.read(lambda database: get_row(database, row_id))
            except (sqlite3.Error, OSError) as error:
                raise HTTPException(503, f"The calls cannot be read now ({error}).") from error
        if row is None:
            raise HTTPException(404, "There is no such call.")
        return row

    async def details(self, row_id: str) -> dict[str, Any]:
        """See ``CallsPage``."""
        row = await self.row(row_id)
        call = self._state.calls.find(row.call_sid) if row.call_sid else None
        files, said, report, picture = await self.on_disk(
            lambda: (
                call_files.recordings(row),
                call_files.words(row),
                call_files.report(row),
                call_files.picture(row),
            )
        )
        return self._brief(row) | {
            "call_sid": row.call_sid,
            # live while the call runs
            "metrics": metrics_of(call) if call and not call.over else dict(row.metrics),
            "recordings": [path.name for path in files],
            # A recent call has its last lines in memory, even without a stored transcript.
            "words": said if said is not None else words(call) if call else None,
            "report": report,
            "has_picture": picture is not None,
            "whole_caller": is_one_person(row),  # whether "all calls of this caller" can be deleted
        }

    async def recording(self, row_id: str, number: int) -> Path:
        """See ``CallsPage``."""
        row = await self.row(row_id)
        paths = await self.on_disk(lambda: call_files.recordings(row))
        if not 0 <= number < len(paths):
            raise HTTPException(404, "This call has no such recording.")
        return paths[number]

    async def path_and_size(self, row_id: str, number: int | None) -> tuple[str, int]:
        """Return path and size of a recording, by its index, or of the picture."""
        path = await self._path(row_id, number)
        return str(path), await self.on_disk(lambda: path.stat().st_size)

    async def piece(self, row_id: str, number: int | None, start: int, count: int) -> bytes:
        """Return some bytes of a recording, by its index, or of the picture; ``PIECE_BYTES`` at most."""
        path = await self._path(row_id, number)
        return await self.on_disk(lambda: read_piece(path, start, min(count, PIECE_BYTES)))

    async def _path(self, row_id: str, number: int | None) -> Path:
        return await (self.picture(row_id) if number is None else self.recording(row_id, number))

    async def levels(self, row_id: str, number: int) -> dict[str, Any]:
        """See ``CallsPage``."""
        path = await self.recording(row_id, number)
        try:
            return asdict(await self.on_disk(lambda: read_levels(path)))
        except ValueError as error:
            raise HTTPException(404, str(error)) from error

    async def picture(self, row_id: str) -> Path:
        """See ``CallsPage``."""
        row = await self.row(row_id)
        path = await self.on_disk(lambda: call_files.picture(row))
        if path is None:
            raise HTTPException(404, "this call has no picture")
        return path

    async def hang_up(self, row_id: str) -> None:
        """See ``CallsPage``."""
        self.call(row_id).request_end("the Calls page hung up")

    async def transfer(self, row_id: str) -> None:
        """See ``CallsPage``."""
        if not CallControl(self.call(row_id), self._state).transfer("The Calls page transfers the call"):
            raise HTTPException(409, "The call cannot be transferred; see the server's log.")

    async def say(self, row_id: str, text: str) -> None:
        """See ``CallsPage``."""
        try:
            self.call(row_id).say(text)
        except CallClosed as error:
            raise HTTPException(404, str(error)) from error
        except Unsupported as error:
            raise HTTPException(409, str(error)) from error
        except ValueError as error:
            raise HTTPException(422, str(error)) from error

    async def erase(self, row_id: str, *, whole_caller: bool) -> dict[str, int]:
        """See ``CallsPage``."""
        return await self.erase_row(await self.row(row_id), whole_caller)

    async def erase_row(self, row: CallRow, whole_caller: bool) -> dict[str, int]:
        """Delete a row, or all of its caller; see ``CallsPage.erase``."""
        try:
            return asdict(await erase(self._state, row, whole_caller=whole_caller))
        except ErasingFailed as error:
            raise HTTPException(503, str(error)) from error

    async def on_disk(self, work: Callable[[], T]) -> T:
        """Run file work in a thread, at most ``_READERS`` at a time.

        Raises:
            HTTPException: 503 if the disk fails.
        """
        try:
            async with self._reading:
                return await in_daemon_thread(work, "history")
        except OSError as error:
            raise HTTPException(503, f"The files cannot be read ({error.strerror}).") from error

    def call(self, row_id: str) -> Call:
        """Return a running call.

        Raises:
            HTTPException: 404 if it has ended.
        """
        row = self._state.history.get(row_id)
        for call in self._state.calls.running:
            if row is not None and call.start.call_sid == row.call_sid:
                return call
        raise HTTPException(404, "The call is over.")

    def _can_transfer(self, call: Call) -> bool:
        """Return whether the call can be transferred: needs a number, Twilio's API and a webhook."""
        is_known = bool(call.expected.transfer_to or self._state.settings.calls.transfer_to)
        return is_known and self._state.rest is not None and call.expected.incoming is not None

    def _brief(self, row: CallRow) -> dict[str, Any]:
        """Return the fields of a row that the list shows."""
        transfer = {"to": row.transfer_to, "outcome": row.transfer_outcome, "secs": row.transfer_secs}
        return {name: getattr(row, name) for name in _LISTED} | {
            "from": row.from_number,
            "to": row.to_number,
            "transfer": transfer if row.transfer_to is not None else None,
            "has_recording": "recording" in row.files,
        }
