"""Watching calls: ``/metrics`` for Prometheus, ``/calls`` for programs, event streams for the page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Depends, HTTPException, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import HTTPConnection

from moshi_phone.server.calls.call import Call, Calls
from moshi_phone.server.calls.call_report import words
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.web.metrics import metrics
from moshi_phone.server.web.status import status

EVERY_S = 0.25
_LIST_EVERY_S = 1.0


Check = Callable[[HTTPConnection], Awaitable[None]]


def watching(state: ServerState, check: Check | None = None) -> APIRouter:
    """Make the routes that tell of calls.

    The list names calls by the beginning of their SID only. Whoever knows a whole SID, which is as good
    as a secret, may follow the call's words: its own page, and a rehearsal.

    Args:
        state: what the calls share.
        check: raises HTTPException for who may not look; the state's ``dashboard_auth`` unless given.
    """
    calls = state.calls
    registry = metrics(calls, state.engine)
    router = APIRouter(dependencies=[Depends(check or state.dashboard_auth.check)])

    @router.get("/metrics")
    async def scrape() -> Response:
        """Everything since the start of the process."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    @router.get("/calls")
    def list_calls() -> dict[str, Any]:
        """The calls that run, with their metrics."""
        return overview(state)

    @router.get("/calls/events", response_class=EventSourceResponse)
    async def follow_calls() -> AsyncIterator[ServerSentEvent]:
        """The same, again and again, until the server is closing and the last call is over."""
        while True:
            yield ServerSentEvent(event="calls", data=overview(state))
            if calls.closing is not None and not calls.running:
                return
            await asyncio.sleep(_LIST_EVERY_S)

    @router.get("/calls/{call_sid}")
    def show_call(call_sid: str) -> dict[str, Any]:
        """One call, while it runs and for a while after: its metrics and what was said."""
        return details(_found(calls, call_sid))

    @router.get("/calls/{call_sid}/events", response_class=EventSourceResponse)
    async def follow_call(call_sid: str) -> AsyncIterator[ServerSentEvent]:
        """One call as it goes: ``metrics`` four times a second, ``words`` if there are new ones, ``end``."""
        call = calls.find(call_sid)
        pieces = 0
        while call is not None and not call.over:
            yield ServerSentEvent(event="metrics", data=metrics_of(call))
            transcript = call.observations.transcript
            if transcript.pieces != pieces:  # not the number of lines: a word may go into one that is there
                pieces = transcript.pieces
                yield ServerSentEvent(event="words", data=words(call))
            await asyncio.sleep(EVERY_S)
        # Also for a call that is not there: an EventSource without an end connects anew for ever.
        yield ServerSentEvent(event="end", data=None if call is None else details(call))

    return router


def overview(state: ServerState) -> dict[str, Any]:
    """Give the server's status and the list of calls, the oldest first."""
    calls = state.calls
    running = sorted(calls.running, key=lambda call: call.began_s)
    return status(state) | {
        "running": [{"name": call.name} | metrics_of(call) for call in running],
        "served": calls.served,
        "refused": dict(calls.refused),
    }


def metrics_of(call: Call) -> dict[str, Any]:
    """Give a call's metrics."""
    return {"secs": round(call.secs, 1), "over": call.over} | call.observations.metrics.summary()


def details(call: Call) -> dict[str, Any]:
    """Give a call's metrics and words."""
    return {"name": call.name} | metrics_of(call) | {"words": words(call)}


def _found(calls: Calls, call_sid: str) -> Call:
    call = calls.find(call_sid)
    if call is None:
        raise HTTPException(404, "no such call, or it has been over for long")
    return call
