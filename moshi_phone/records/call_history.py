"""The calls of this run: the last 200, and those that go on. With ``--calls-db``, all are stored as well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from moshi_phone.records.call_row import CallRow

RECENT = 200
_SID_CHARS, _NUMBER_CHARS = 64, 120  # a stranger's may be as long as a message
_MOST_OPEN = 1_000  # calls that go on, or that nobody has reported the end of; then the oldest is let go


class RowStore(Protocol):
    """Where rows are stored."""

    def put(self, row: CallRow) -> None:
        """Store a row, or replace what is stored of it. Returns at once, and never raises."""


class CallHistory:
    """Remembers calls by row, and stores each change. Used on the event loop alone.

    Args:
        store: stores all rows; None keeps the last ones in memory only.
        mask: is applied to every number before anything else is done with it.
    """

    def __init__(self, store: RowStore | None = None, mask: Callable[[str], str] = str) -> None:
        self.store = store
        self.mask = mask
        self.version = 0
        """Grows with each change."""
        self._recent: dict[str, CallRow] = {}  # by id, the oldest first
        self._open: dict[str, CallRow] = {}  # by SID: however many calls came since, their end is entered

    def add(self, row: CallRow) -> CallRow:
        """Enter a row; gives it as it is kept."""
        row = replace(
            row,
            call_sid=row.call_sid[:_SID_CHARS],
            from_number=self.mask(row.from_number[:_NUMBER_CHARS]),
            to_number=self.mask(row.to_number[:_NUMBER_CHARS]),
            transfer_to=None if row.transfer_to is None else self.mask(row.transfer_to),
        )
        self._keep(row)
        return row

    def update(self, call_sid: str, **changes: Any) -> CallRow | None:
        """Change the newest row of a call; gives it, or None where it is known no more."""
        row = self.find(call_sid)
        if row is None:
            return None
        if changes.get("transfer_to"):
            changes["transfer_to"] = self.mask(changes["transfer_to"])
        row = replace(row, **changes)
        self._keep(row)
        return row

    def find(self, call_sid: str) -> CallRow | None:
        """Find the newest row of a call, while it goes on and for a while after."""
        call_sid = call_sid[:_SID_CHARS]
        if row := self._open.get(call_sid):
            return row
        return next((row for row in reversed(self._recent.values()) if row.call_sid == call_sid), None)

    def get(self, row_id: str) -> CallRow | None:
        """Find a row by its id, likewise."""
        if row := self._recent.get(row_id):
            return row
        return next((row for row in self._open.values() if row.id == row_id), None)

    def forget(self, row_id: str) -> None:
        """Let go of a row that has ended."""
        self.version += 1
        self._recent.pop(row_id, None)
        self._open = {sid: row for sid, row in self._open.items() if row.id != row_id}

    @property
    def rows(self) -> list[CallRow]:
        """All that are remembered, in no order."""
        return list(({row.id: row for row in self._open.values()} | self._recent).values())

    def _keep(self, row: CallRow) -> None:
        self.version += 1
        self._recent[row.id] = row
        if len(self._recent) > RECENT:
            del self._recent[next(iter(self._recent))]
        if row.is_open and row.call_sid:
            self._open[row.call_sid] = row
            if len(self._open) > _MOST_OPEN:
                del self._open[next(iter(self._open))]
        elif (known := self._open.get(row.call_sid)) and known.id == row.id:
            del self._open[row.call_sid]
        if self.store is not None:
            self.store.put(row)
