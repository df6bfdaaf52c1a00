"""Deletes what is kept of a caller: rows, files, and reports that wait to be delivered."""

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
    """What was deleted.

    Attributes:
        calls: how many rows.
        files: how many files.
        running: how many calls of the same caller go on, and were left.
    """

    calls: int
    files: int
    running: int = 0


class ErasingFailed(Exception):
    """Something could not be deleted; the text says what, in one sentence."""


def is_one_person(row: CallRow) -> bool:
    """Tell whether a row's number is one person's: nobody's is what all who withhold theirs have."""
    return bool(row.party) and row.party != ANONYMOUS


async def erase(state: ServerState, row: CallRow, *, whole_caller: bool) -> Erased:
    """Delete a call, or all calls with the same number.

    Files go first: a row that is left over by a fault still names them, and can be deleted again.

    Args:
        state: what the calls share.
        row: the call.
        whole_caller: whether all calls of its caller are meant; not where nobody knows whose it is.

    Raises:
        ErasingFailed: when something could not be deleted.
    """
    history, store = state.history, state.history.store
    rows = {row.id: row}
    try:
        if whole_caller and is_one_person(row):
            if isinstance(store, CallStore):
                rows |= {one.id: one for one in await store.of_party(row.party)}
            rows |= {one.id: one for one in history.rows if one.party == row.party}
        over = [one for one in rows.values() if not _runs(state, one)]
        files = await in_daemon_thread(lambda: sum(map(delete_files, over)), "erasing")
        if state.outbox is not None:
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
    return any(call.start.call_sid == row.call_sid for call in state.calls.running)
