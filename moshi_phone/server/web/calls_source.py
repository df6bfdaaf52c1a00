"""What the routes need to know of calls: one protocol for a single server and for a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from moshi_phone.hooks.events import SpokenLine


@dataclass(frozen=True, slots=True)
class CallUpdate:
    """One call at one moment.

    Attributes:
        metrics: as ``/calls/SID`` shows them; ``over`` says whether the call has ended.
        pieces: how many pieces of words there are.
        words: the lines that were said; None where no piece is new.
        turns: who spoke when in the last minute; None where nobody measures it.
    """

    metrics: dict[str, Any]
    pieces: int
    words: list[SpokenLine] | None
    turns: dict[str, Any] | None = None


class CallsSource(Protocol):
    """The calls that there are: those of this server, or those of all workers of a cluster.

    Attributes:
        update_s: how often a page that follows one call is updated, in seconds.
    """

    update_s: float

    async def health(self, *, is_public: bool) -> dict[str, Any]:
        """Say whether the next call would be answered, for ``/healthz``; ``ready`` is the verdict.

        Args:
            is_public: everybody reads it, so the machines behind the server are not named.
        """

    async def overview(self) -> dict[str, Any]:
        """Give the status and the calls that run."""

    async def details(self, call_sid: str) -> dict[str, Any] | None:
        """Give one call, while it runs and for a while after; None where there is none."""

    async def update(self, call_sid: str, pieces: int) -> CallUpdate | None:
        """Give one call's metrics, and its words where there are others than those ``pieces``."""

    async def say(self, call_sid: str, text: str) -> tuple[int, str] | None:
        """Have something said in a call.

        Returns:
            HTTP's status and the reason where it is an error; None where there is no such call.
        """

    async def scrape(self) -> bytes:
        """Give all metrics in Prometheus' text format."""

    async def offers(self) -> dict[str, list[str]]:
        """Name the personas and the voices that a call of the page may ask for."""

    async def create_browser_call(
        self, call_sid: str, body: bytes, content_type: str, peer: str
    ) -> dict[str, str]:
        """Prepare a call of the page; gives what the page needs to open its stream.

        Args:
            call_sid: its name.
            body: what the page asks for (``browser_phone.chosen``).
            content_type: of the body.
            peer: who asks, for the log.

        Raises:
            HTTPException: when it asks for something that is not offered, or no session is free.
        """

    def is_over(self) -> bool:
        """Tell whether no call is taken any more and none runs."""

    async def pause(self, secs: float) -> None:
        """Wait so long, or until there is news that does not wait: the start has failed."""
