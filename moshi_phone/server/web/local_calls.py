"""The calls of this server, for its own routes and for the gateways of a cluster."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from prometheus_client.exposition import generate_latest

from moshi_phone.engines.duplex import Unsupported
from moshi_phone.server.calls.call import CallClosed
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.calls.summary import words
from moshi_phone.server.web.browser_phone import chosen, offers
from moshi_phone.server.web.calls_source import CallUpdate
from moshi_phone.server.web.health import status_of
from moshi_phone.server.web.monitoring import details, metrics_of
from moshi_phone.server.web.prometheus import metrics
from moshi_phone.server.web.server_status import ServerStatus


class LocalCalls:
    """Implements ``CallsSource`` for one server.

    Args:
        state: shared state of the server.
    """

    update_s = 0.25  # four updates a second: a word appears while it is spoken

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._registry = metrics(state)  # reads the calls' counters at each scrape; nothing is counted twice

    async def status(self) -> ServerStatus:
        """See ``CallsSource``."""
        return status_of(self._state)

    async def running_calls(self) -> list[dict[str, Any]]:
        """See ``CallsSource``."""
        running = sorted(self._state.calls.running, key=lambda call: call.began_s)
        return [{"name": call.name} | metrics_of(call) for call in running]

    async def details(self, call_sid: str) -> dict[str, Any] | None:
        """See ``CallsSource``."""
        call = self._state.calls.find(call_sid)
        return None if call is None else details(call)

    async def update(self, call_sid: str, pieces: int) -> CallUpdate | None:
        """See ``CallsSource``."""
        call = self._state.calls.find(call_sid)
        if call is None:
            return None
        # Not the number of lines: a new word may extend the last one.
        now = call.observations.transcript.pieces
        talk = call.observations.conversation
        return CallUpdate(
            metrics_of(call), now, None if now == pieces else words(call), talk.strip if talk else None
        )

    async def say(self, call_sid: str, text: str) -> tuple[int, str] | None:
        """See ``CallsSource``."""
        call = self._state.calls.find(call_sid)
        if call is None:
            return None
        try:
            call.say(text)  # returns at once; the session queues the text
        except CallClosed as error:
            return 404, str(error)
        except Unsupported as error:
            return 409, str(error)
        except ValueError as error:
            return 422, str(error)
        return 202, ""

    async def scrape(self) -> bytes:
        """See ``CallsSource``."""
        return generate_latest(self._registry)

    async def offers(self) -> dict[str, list[str]]:
        """See ``CallsSource``."""
        return offers(self._state)

    async def create_browser_call(
        self,
        call_sid: str,
        body: bytes,
        content_type: str,
        peer: str,  # noqa: ARG002 - the stream is refused if no session is free
    ) -> dict[str, str]:
        """See ``CallsSource``."""
        self._state.expected.add(call_sid, chosen(self._state, body, content_type), self._state.clock())
        return {"callSid": call_sid, "token": self._state.mint(call_sid)}

    def is_over(self) -> bool:
        """See ``CallsSource``."""
        closing, failure = self._state.calls.closing, self._state.startup.failure
        # a failed start ends the page's streams as well
        return failure is not None or (closing is not None and not self._state.calls.running)

    async def pause(self, secs: float) -> None:
        """See ``CallsSource``."""
        with suppress(TimeoutError):  # a timeout is the normal case
            async with asyncio.timeout(secs):
                await self._state.startup.failed.wait()
