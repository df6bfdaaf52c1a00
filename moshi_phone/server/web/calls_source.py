"""The routes' view of calls: one protocol for a single server and for a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from moshi_phone.hooks.events import SpokenLine
from moshi_phone.server.web.server_status import ServerStatus


@dataclass(frozen=True, slots=True)
class CallUpdate:
    """One call at one moment.

    Attributes:
        metrics: as in ``/calls/SID``; ``over`` is true once the call has ended.
        pieces: number of transcript pieces so far.
        words: transcript lines; None if no piece is new.
        turns: who spoke when in the last minute; None if turns are not measured.
    """

    metrics: dict[str, Any]
    pieces: int
    words: list[SpokenLine] | None
    turns: dict[str, Any] | None = None


class CallsSource(Protocol):
    """Calls of this server, or of all workers of a cluster.

    Attributes:
        update_s: interval between updates of a page that follows one call, in seconds.
    """

    update_s: float

    async def status(self) -> ServerStatus:
        """Return the status of the server, or of all workers together."""

    async def running_calls(self) -> list[dict[str, Any]]:
        """Return the metrics of the running calls, oldest first; of a cluster, each with its worker."""

    async def details(self, call_sid: str) -> dict[str, Any] | None:
        """Return one call, running or recently ended; None if unknown."""

    async def update(self, call_sid: str, pieces: int) -> CallUpdate | None:
        """Return one call's metrics, and its transcript if it has more than ``pieces`` pieces."""

    async def say(self, call_sid: str, text: str) -> tuple[int, str] | None:
        """Say a text in a call.

        Returns:
            HTTP status and the reason of an error; None if there is no such call.
        """

    async def scrape(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""

    async def offers(self) -> dict[str, list[str]]:
        """Return the names of the personas and voices that a call of the page may choose."""

    async def create_browser_call(
        self, call_sid: str, body: bytes, content_type: str, peer: str
    ) -> dict[str, str]:
        """Prepare a call of the page; return the data with which the page opens its stream.

        Args:
            call_sid: SID of the new call.
            body: the page's choices (``browser_phone.chosen``).
            content_type: of the body.
            peer: address of the client, for the log.

        Raises:
            HTTPException: for a choice that is not on offer, or if no session is free.
        """

    def is_over(self) -> bool:
        """Return whether no call is accepted any more and none runs."""

    async def pause(self, secs: float) -> None:
        """Wait for ``secs``, or until the start has failed, which is urgent."""
