"""Data of the Calls page: rows from memory and from the database, files, running calls."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from fastapi import HTTPException

from moshi_phone.records import call_files
from moshi_phone.records.call_database import count_rows, find_rows, get_row
from moshi_phone.records.call_row import CallRow
from moshi_phone.records.call_search import CallSearch, newest_first
from moshi_phone.records.call_store import CallStore
from moshi_phone.records.levels import read_levels
from moshi_phone.runtime.daemon_threads import in_daemon_thread
from moshi_phone.server.calls.call import Call
from moshi_phone.server.calls.erasing import is_one_person
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.calls.summary import words
from moshi_phone.server.web.monitoring import metrics_of

_READERS = 2  # concurrent reads of the disk; further requests wait

T = TypeVar("T")


class HistorySource:
    """Answers the page's requests.

    Args:
        state: shared state of the server.
    """

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._reading = asyncio.Semaphore(_READERS)  # bounds the threads that read the database and files

    async def find(self, search: CallSearch) -> dict[str, Any]:
        """Return the matching rows, from the database and from memory."""
        store, rows, error = self._state.history.store, list[CallRow](), None
        recent = self._state.history.rows
        total = sum(map(replace(search, before=None).matches, recent))  # the cursor must not reduce the total
        wider = replace(search, limit=search.limit + 1)  # one more row shows whether there is another page
        if isinstance(store, CallStore):
            try:
                async with self._reading:
                    rows, total = await store.read(
                        lambda database: (find_rows(database, wider), count_rows(database, search))
                    )
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

    def running(self) -> dict[str, Any]:
        """Return the running calls."""
        known = {row.call_sid: row for row in self._state.history.rows if row.is_open}
        calls = sorted(self._state.calls.running, key=lambda call: call.began_s)
        can_say = "say" in self._state.engine.capabilities
        return {
            "version": self._state.history.version,
            "running": [  # changes with every call: the page then reloads its list
                self._brief(row)
                | {"secs": round(call.secs, 1), "can_say": can_say, "can_transfer": self._can_transfer(call)}
                for call in calls
                if (row := known.get(call.start.call_sid))  # a call without a webhook or a row is not listed
            ],
        }

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

    async def details(self, row: CallRow) -> dict[str, Any]:
        """Return all data of a call."""
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
        """Return the path of a call's recording.

        Args:
            row_id: ID of the row.
            number: index of the recording, from 0.

        Raises:
            HTTPException: 404 if there is none.
        """
        row = await self.row(row_id)
        paths = await self.on_disk(lambda: call_files.recordings(row))
        if not 0 <= number < len(paths):
            raise HTTPException(404, "This call has no such recording.")
        return paths[number]

    async def levels(self, path: Path) -> dict[str, Any]:
        """Measure the loudness of a recording.

        Raises:
            HTTPException: 404 if it cannot be read.
        """
        try:
            return asdict(await self.on_disk(lambda: read_levels(path)))
        except ValueError as error:
            raise HTTPException(404, str(error)) from error

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
        return {
            "id": row.id,
            "kind": row.kind,
            "began_at": row.began_at,
            "ended_at": row.ended_at,
            "from": row.from_number,
            "to": row.to_number,
            "direction": row.direction,
            "section": row.section,
            "engine": row.engine,
            "secs": row.secs,
            "outcome": row.outcome,
            "reason": row.reason,
            "transfer": None
            if row.transfer_to is None
            else {"to": row.transfer_to, "outcome": row.transfer_outcome, "secs": row.transfer_secs},
            "consent": row.consent,
            "has_recording": "recording" in row.files,
            "text": row.text,
        }
