"""``CallsPage`` over all processes of a cluster, for a gateway's routes.

Rows are in the memory of the process that entered them, and with ``--calls-db`` in the database of its
machine, which a gateway searches as well. Recordings are files of the worker's machine, which sends them
piece by piece.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from fastapi import HTTPException

from moshi_phone.cluster.rpc import RpcClient, RpcError
from moshi_phone.records.call_row import CallRow
from moshi_phone.records.call_search import CallSearch
from moshi_phone.server.web.history_source import HistorySource
from moshi_phone.server.web.page_file import RemoteFile, size_of

ASK_SECS = 5.0  # for requests that read files or the database
_OK = 200


async def answer_page(source: HistorySource, method: str, arguments: tuple[Any, ...]) -> tuple[int, Any]:
    """Answer a gateway's request for the page: HTTP status, and the result or the reason of an error.

    Args:
        source: calls of this process.
        method: a method of ``HistorySource``.
        arguments: its arguments.
    """
    try:
        return _OK, await getattr(source, method)(*arguments)
    except HTTPException as refused:
        return refused.status_code, str(refused.detail)


class ClusterHistory:
    """See ``CallsPage``. Asks all processes concurrently; omits those that do not answer.

    Args:
        own: calls that no worker took, and the database.
        others: returns the workers and the other gateways.
        is_closing: returns whether the cluster closes.
    """

    def __init__(
        self, own: HistorySource, others: Callable[[], Sequence[RpcClient]], is_closing: Callable[[], bool]
    ) -> None:
        self._own = own
        self._others = others
        self._is_closing = is_closing

    async def find(self, search: CallSearch) -> dict[str, Any]:
        """See ``CallsPage``."""
        wider = replace(search, limit=search.limit + 1)  # one more row shows whether there is another page
        in_memory, stored = await asyncio.gather(
            self._ask_all("rows_in_memory"), self._ask_all("stored_rows", wider, self._own.database)
        )
        # Workers on one machine have the same database.
        by_database: dict[str, tuple[list[CallRow], int]] = {
            database: (rows, total) for _, (database, rows, total) in stored
        }
        rows: list[CallRow] = [row for rows, _ in by_database.values() for row in rows]
        found = await self._own.find(search, [*rows, *(row for _, rows in in_memory for row in rows)])
        return found | {"total": found["total"] + sum(total for _, total in by_database.values())}

    async def running(self) -> dict[str, Any]:
        """See ``CallsPage``."""
        told = [await self._own.running(), *(one for _, one in await self._ask_all("running"))]
        return {
            "version": "-".join(one["version"] for one in told),
            "running": list(chain.from_iterable(one["running"] for one in told)),
        }

    def is_over(self) -> bool:
        """See ``CallsPage``."""
        return self._is_closing()

    async def details(self, row_id: str) -> dict[str, Any]:
        """See ``CallsPage``."""
        found: dict[str, Any] = await self._of_owner("details", row_id)
        return found

    async def recording(self, row_id: str, number: int) -> Path | RemoteFile:
        """See ``CallsPage``."""
        if owner := await self._owner(row_id):
            return await self._file_at(owner, row_id, number)
        return await self._own.recording(row_id, number)

    async def levels(self, row_id: str, number: int) -> dict[str, Any]:
        """See ``CallsPage``."""
        found: dict[str, Any] = await self._of_owner("levels", row_id, number)
        return found

    async def picture(self, row_id: str) -> Path | RemoteFile:
        """See ``CallsPage``."""
        if owner := await self._owner(row_id):
            return await self._file_at(owner, row_id, None)
        return await self._own.picture(row_id)

    async def hang_up(self, row_id: str) -> None:
        """See ``CallsPage``."""
        await self._of_owner("hang_up", row_id)

    async def transfer(self, row_id: str) -> None:
        """See ``CallsPage``."""
        await self._of_owner("transfer", row_id)

    async def say(self, row_id: str, text: str) -> None:
        """See ``CallsPage``."""
        await self._of_owner("say", row_id, text)

    async def erase(self, row_id: str, *, whole_caller: bool) -> dict[str, int]:
        """See ``CallsPage``. Each process deletes what it holds of the caller."""
        row = await self._of_owner("row", row_id)
        erased = [one for _, one in await self._ask_all("erase_row", row, whole_caller, is_strict=True)]
        erased.append(await self._own.erase_row(row, whole_caller))
        # Several processes count the same rows of one database.
        return {
            "calls": max(one["calls"] for one in erased),
            "files": sum(one["files"] for one in erased),
            "running": max(one["running"] for one in erased),
        }

    async def _of_owner(self, method: str, row_id: str, *arguments: Any) -> Any:
        """Ask the process that has the row in memory; by default this one, which has the database."""
        if owner := await self._owner(row_id):
            return await self._ask(owner, method, row_id, *arguments)
        return await getattr(self._own, method)(row_id, *arguments)

    async def _owner(self, row_id: str) -> RpcClient | None:
        """Return the process that has the row in memory or on another machine; None for this one."""
        if await self._own.has_row(row_id):
            return None
        found = await self._ask_all("has_row", row_id, self._own.database)
        return next((owner for owner, has_row in found if has_row), None)

    async def _ask_all(
        self, method: str, *arguments: Any, is_strict: bool = False
    ) -> list[tuple[RpcClient, Any]]:
        others = self._others()
        answers = await asyncio.gather(
            *(self._ask(one, method, *arguments) for one in others), return_exceptions=True
        )
        for answer in answers:
            if isinstance(answer, BaseException) and (is_strict or not isinstance(answer, HTTPException)):
                raise answer
        pairs = zip(others, answers, strict=True)
        return [(one, answer) for one, answer in pairs if not isinstance(answer, BaseException)]

    async def _ask(self, process: RpcClient, method: str, *arguments: Any) -> Any:
        try:
            status, answer = await process.ask("page", method, arguments, within_secs=ASK_SECS)
        except RpcError as error:
            raise HTTPException(503, f"{process.name} does not answer.") from error
        if status != _OK:
            raise HTTPException(status, answer)
        return answer

    async def _file_at(self, owner: RpcClient, row_id: str, number: int | None) -> Path | RemoteFile:
        """Return a file of another process: its path if it is on this machine, too."""
        name, size = await self._ask(owner, "path_and_size", row_id, number)
        if await self._own.on_disk(lambda: size_of(Path(name))) == size:
            return Path(name)

        async def read(start: int, count: int) -> bytes:
            piece: bytes = await self._ask(owner, "piece", row_id, number, start, count)
            return piece

        return RemoteFile(size, read)
