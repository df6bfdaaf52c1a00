"""``CallsSource`` over all workers, for a gateway's routes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

from fastapi import HTTPException

from moshi_phone.access.refusal import Where
from moshi_phone.access.refusals import RefusalCounts, by_cause
from moshi_phone.cluster.aggregate import ClusterStatus, aggregate_status, merged_metrics
from moshi_phone.cluster.call_router import CallRouter
from moshi_phone.cluster.fleet import state_of
from moshi_phone.server.web.calls_source import CallUpdate

_OK = 200


class ClusterCalls:
    """See ``CallsSource``. Asks all workers concurrently; omits those that do not answer.

    Args:
        router: has the workers.
        closing: returns why no calls are taken, or None while they are.
        refusals: returns each gateway's refusals, by its name.
    """

    # Twice a second: each update is a request to every worker.
    update_s = 0.5

    def __init__(
        self,
        router: CallRouter,
        closing: Callable[[], str | None],
        refusals: Callable[[], Mapping[str, RefusalCounts]],
    ) -> None:
        self._router = router
        self._closing = closing
        self._refusals = refusals

    async def status(self) -> ClusterStatus:
        """See ``CallsSource``; from reports that are up to a second old."""
        reports = {name: self._router.reports.get(name) for name in self._router.workers}
        return aggregate_status(reports, self._closing(), by_cause(*self._refusals().values()))

    async def running_calls(self) -> list[dict[str, Any]]:
        """See ``CallsSource``."""
        found = await self._router.ask_all(lambda worker: worker.running_calls())
        return sorted(chain.from_iterable(found), key=lambda call: -float(call["secs"]))

    async def details(self, call_sid: str) -> dict[str, Any] | None:
        """See ``CallsSource``."""
        found = await self._router.ask_all(lambda worker: worker.details(call_sid))
        return found[0] if found else None

    async def update(self, call_sid: str, pieces: int) -> CallUpdate | None:
        """See ``CallsSource``."""
        found = await self._router.ask_all(lambda worker: worker.update(call_sid, pieces))
        return found[0] if found else None

    async def say(self, call_sid: str, text: str) -> tuple[int, str] | None:
        """See ``CallsSource``."""
        answers = await self._router.ask_all(lambda worker: worker.say(call_sid, text))
        return answers[0] if answers else None

    async def scrape(self) -> bytes:
        """See ``CallsSource``; each sample has the label ``worker`` with its process' name."""
        router = self._router

        async def of(name: str) -> tuple[str, str] | None:
            return name, await router.workers[name].scrape()

        texts = dict(await router.ask_all(lambda worker: of(worker.name)))
        states = {name: state_of(router.reports.get(name)) for name in router.workers}
        return merged_metrics(texts, states, self._refusals())

    async def offers(self) -> dict[str, list[str]]:
        """See ``CallsSource``. During an update, only entries that all workers have."""
        found = await self._router.ask_all(lambda worker: worker.offers())
        return {what: _common([offers[what] for offers in found]) for what in ("personas", "voices")}

    async def create_browser_call(
        self, call_sid: str, body: bytes, content_type: str, peer: str
    ) -> dict[str, str]:
        """See ``CallsSource``; the result also has the URL of the worker's stream."""
        ready = await self._router.create_browser_call(call_sid, body, content_type)
        if ready is None:
            refusal = self._router.no_session()
            self._router.refusals.note(Where.BROWSER, refusal, call_sid=call_sid, peer=peer)
            raise HTTPException(503, refusal.reason)
        status, token, stream = ready
        if status != _OK:
            raise HTTPException(status, token)
        return {"callSid": call_sid, "token": token, "stream": stream}

    def is_over(self) -> bool:
        """See ``CallsSource``."""
        # Reports only: a worker that has gone has no calls.
        return self._closing() is not None and not any(
            report.status and report.status.calls for report in self._router.reports.values()
        )

    async def pause(self, secs: float) -> None:
        """See ``CallsSource``."""
        await asyncio.sleep(secs)


def _common(lists: list[list[str]]) -> list[str]:
    return [name for name in (lists[0] if lists else ()) if all(name in names for names in lists)]
