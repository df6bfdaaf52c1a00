"""History of this run's calls: the last 200 and all open ones; stored as well with ``--calls-db``."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from moshi_phone.records.call_row import CallRow

RECENT = 200
_SID_CHARS, _NUMBER_CHARS = 64, 120  # limits for values from strangers
_MAX_OPEN = 1_000  # bound for calls whose end is never reported; beyond it the oldest is dropped


class RowStore(Protocol):
    """Storage of rows."""

    @property
    def run_id(self) -> str:
        """Random ID of this process, with which its rows' IDs begin."""

    def put(self, row: CallRow) -> None:
        """Store or replace a row. Must not block or raise."""


class CallHistory:
    """Holds the rows of calls, and stores each change. Use it on the event loop only.

    Args:
        store: stores all rows; None keeps the last ones in memory only.
        mask: applied to every phone number before it is stored anywhere.
    """

    def __init__(self, store: RowStore | None = None, mask: Callable[[str], str] = str) -> None:
        self.store = store
        self.mask = mask
        self.version = 0
        """Incremented by each change."""
        self._recent: dict[str, CallRow] = {}  # by id, the oldest first
        self._open: dict[str, CallRow] = {}  # by SID; not limited by RECENT, for late ends

    def add(self, row: CallRow) -> CallRow:
        """Add a row; return it as stored, with masked numbers."""
        row = replace(
            row,
            id=row.id or f"{self.store.run_id if self.store else ''}{secrets.token_hex(8)}",
            call_sid=row.call_sid[:_SID_CHARS],
            from_number=self.mask(row.from_number[:_NUMBER_CHARS]),
            to_number=self.mask(row.to_number[:_NUMBER_CHARS]),
            transfer_to=None if row.transfer_to is None else self.mask(row.transfer_to),
        )
        self._keep(row)
        return row

    def update(self, call_sid: str, **changes: Any) -> CallRow | None:
        """Change the newest row of a call; return it, or None if it is unknown."""
        row = self.find(call_sid)
        if row is None:
            return None
        if changes.get("transfer_to"):
            changes["transfer_to"] = self.mask(changes["transfer_to"])
        row = replace(row, **changes)
        self._keep(row)
        return row

    def find(self, call_sid: str) -> CallRow | None:
        """Return the newest row of a call; None if unknown or no longer held."""
        call_sid = call_sid[:_SID_CHARS]
        if row := self._open.get(call_sid):
            return row
        return next((row for row in reversed(self._recent.values()) if row.call_sid == call_sid), None)

    def get(self, row_id: str) -> CallRow | None:
        """Return a row by its id; None if unknown or no longer held."""
        if row := self._recent.get(row_id):
            return row
        return next((row for row in self._open.values() if row.id == row_id), None)

    def forget(self, row_id: str) -> None:
        """Remove a row."""
        self.version += 1
        self._recent.pop(row_id, None)
        self._open = {sid: row for sid, row in self._open.items() if row.id != row_id}

    @property
    def rows(self) -> list[CallRow]:
        """All held rows, unordered."""
        return list(({row.id: row for row in self._open.values()} | self._recent).values())

    def _keep(self, row: CallRow) -> None:
        self.version += 1
        self._recent[row.id] = row
        if len(self._recent) > RECENT:
            del self._recent[next(iter(self._recent))]
        if row.is_open and row.call_sid:
            self._open[row.call_sid] = row
            if len(self._open) > _MAX_OPEN:
                del self._open[next(iter(self._open))]
        elif (known := self._open.get(row.call_sid)) and known.id == row.id:
            del self._open[row.call_sid]
        if self.store is not None:
            self.store.put(row)
