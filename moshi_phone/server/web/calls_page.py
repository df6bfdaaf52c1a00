"""What the Calls page requires, from one server or from the workers of a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from moshi_phone.records.call_search import CallSearch
from moshi_phone.server.web.page_file import RemoteFile


class CallsPage(Protocol):
    """Answers the requests of the Calls page. All methods may raise ``HTTPException``, with a sentence."""

    async def find(self, search: CallSearch) -> dict[str, Any]:
        """Return the matching rows, from the database and from memory."""

    async def running(self) -> dict[str, Any]:
        """Return the running calls, and a version that changes with every call."""

    def is_over(self) -> bool:
        """Return whether the server closes and no call runs, so that pages should disconnect."""

    async def details(self, row_id: str) -> dict[str, Any]:
        """Return all data of a call; 404 if there is none, 503 if the database cannot be read."""

    async def recording(self, row_id: str, number: int) -> Path | RemoteFile:
        """Return a call's recording, by its index; 404 if there is none."""

    async def levels(self, row_id: str, number: int) -> dict[str, Any]:
        """Measure the loudness of a recording; 404 if it cannot be read."""

    async def picture(self, row_id: str) -> Path | RemoteFile:
        """Return a call's picture; 404 if there is none."""

    async def hang_up(self, row_id: str) -> None:
        """End a running call; 404 if it has ended."""

    async def transfer(self, row_id: str) -> None:
        """Transfer a running call to a person; 409 if that is impossible."""

    async def say(self, row_id: str, text: str) -> None:
        """Say a text in a running call; 409 if its engine cannot."""

    async def erase(self, row_id: str, *, whole_caller: bool) -> dict[str, int]:
        """Delete a call, or all calls of its caller, with their files; 503 if something is left."""
