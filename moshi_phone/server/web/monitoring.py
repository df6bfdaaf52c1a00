"""``/metrics`` for Prometheus, ``/calls`` for programs, and event streams for the page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Depends, HTTPException, Response
from fastapi.responses import JSONResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.requests import HTTPConnection

from moshi_phone.server.calls.call import Call
from moshi_phone.server.calls.summary import words
from moshi_phone.server.web.calls_source import CallsSource

_LIST_EVERY_S = 1.0  # how often the list of calls is sent
_NO_STORE = {"Cache-Control": "no-store"}  # transcripts stay out of every cache

CheckAccess = Callable[[HTTPConnection], Awaitable[None]]


def monitoring_router(calls: CallsSource, check: CheckAccess) -> APIRouter:
    """Build the routes that report on calls.

    The list shows only the beginning of each SID. A whole SID is a secret: it gives access to the call's
    transcript, for the call's own page and for a rehearsal.

    Args:
        calls: source of the calls.
        check: raises HTTPException for a client without access.
    """
    router = APIRouter(dependencies=[Depends(check)])

    @router.get("/metrics")
    async def scrape() -> Response:
        """Return all metrics since the start of the process."""
        return Response(await calls.scrape(), media_type=CONTENT_TYPE_LATEST)

    @router.get("/calls")
    async def list_calls() -> dict[str, Any]:
        """Return the running calls with their metrics."""
        return await _overview(calls)

    @router.get("/calls/events", response_class=EventSourceResponse)
    async def follow_calls() -> AsyncIterator[ServerSentEvent]:
        """Stream the same list once a second, until the server is closing and the last call has ended."""
        while True:
            yield ServerSentEvent(event="calls", data=await _overview(calls))
            if calls.is_over():
                return
            # ends early when the start fails, so that the page gets the reason
            await calls.pause(_LIST_EVERY_S)

    @router.get("/calls/{call_sid}")
    async def show_call(call_sid: str) -> JSONResponse:
        """Return one call, running or recently ended: its metrics and transcript."""
        call = await calls.details(call_sid)
        if call is None:
            raise HTTPException(404, "no such call, or it has been over for long")
        return JSONResponse(call, headers=_NO_STORE)

    @router.get("/calls/{call_sid}/events", response_class=EventSourceResponse)
    async def follow_call(call_sid: str) -> AsyncIterator[ServerSentEvent]:
        """Stream one call: ``metrics``, ``words`` and ``turns`` that have changed, finally ``end``."""
        pieces, turns = 0, None  # the page's state so far
        while (update := await calls.update(call_sid, pieces)) and not update.metrics["over"]:
            yield ServerSentEvent(event="metrics", data=update.metrics)
            if update.words is not None:
                yield ServerSentEvent(event="words", data=update.words)
            if update.turns and update.turns != turns:
                yield ServerSentEvent(event="turns", data=update.turns)
            pieces, turns = update.pieces, update.turns
            await asyncio.sleep(calls.update_s)
        # Also for an unknown call: an EventSource without an ``end`` reconnects for ever.
        yield ServerSentEvent(event="end", data=await calls.details(call_sid))

    return router


async def _overview(calls: CallsSource) -> dict[str, Any]:
    running = await calls.running_calls()
    return (await calls.status()).overview() | {"running": running}


def metrics_of(call: Call) -> dict[str, Any]:
    """Return a call's metrics."""
    return {"secs": round(call.secs, 1), "over": call.over} | call.observations.metrics.summary()


def details(call: Call) -> dict[str, Any]:
    """Return a call's metrics and transcript."""
    return {"name": call.name} | metrics_of(call) | {"words": words(call)}
