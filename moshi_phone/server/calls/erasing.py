"""Deletes the data of a call or a caller: rows, files, and undelivered reports."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from loguru import logger

from moshi_phone.records.call_files import delete_files
from moshi_phone.records.call_row import CallRow
from moshi_phone.records.call_store import CallStore
from moshi_phone.runtime.daemon_threads import in_daemon_thread
from moshi_phone.server.calls.state import ServerState
from moshi_phone.telephony.caller_id import ANONYMOUS


@dataclass(frozen=True)
class Erased:
    """Result of a deletion.

    Attributes:
        calls: number of deleted rows.
        files: number of deleted files.
        running: number of the caller's calls that still run, which were skipped.
    """

    calls: int
    files: int
    running: int = 0


class ErasingFailed(Exception):
    """Something could not be deleted; the text names it in one sentence."""


def is_one_person(row: CallRow) -> bool:
    """Return whether a row's number identifies one person. Callers with withheld numbers share one value."""
    return bool(row.party) and row.party != ANONYMOUS


async def erase(state: ServerState, row: CallRow, *, whole_caller: bool) -> Erased:
    """Delete a call, or all calls with the same number.

    Files are deleted first: after an error, the remaining row still names them, and deletion can be repeated.

    Args:
        state: shared state of the server.
        row: the call.
        whole_caller: whether to delete all calls of its caller; ignored if the number does not identify a
            caller.

    Raises:
        ErasingFailed: if something could not be deleted.
    """
    history, store = state.history, state.history.store
    rows = {row.id: row}
    try:
        if whole_caller and is_one_person(row):
            if isinstance(store, CallStore):
                rows |= {one.id: one for one in await store.of_party(row.party)}
            # Rows in memory may not be in the database yet.
            rows |= {one.id: one for one in history.rows if one.party == row.party}
        # The files of running calls are still being written.
        over = [one for one in rows.values() if not _runs(state, one)]
        files = await in_daemon_thread(lambda: sum(map(delete_files, over)), "erasing")
        if state.outbox is not None:  # undelivered reports contain the number and the words
            await state.outbox.delete({one.call_sid for one in over})
        if isinstance(store, CallStore):
            await store.delete({one.id for one in over})
    except (OSError, sqlite3.Error) as error:
        raise ErasingFailed(f"Not everything could be deleted ({error}); try again.") from error
    for one in over:
        history.forget(one.id)
    logger.info("Deleted {} calls and {} files, as the page asked", len(over), files)
    return Erased(len(over), files, len(rows) - len(over))


def _runs(state: ServerState, row: CallRow) -> bool:
    """Return whether a call runs here, or in another process that shares the database."""
    is_elsewhere = row.is_open and state.history.get(row.id) is None
    return is_elsewhere or any(call.start.call_sid == row.call_sid for call in state.calls.running)
