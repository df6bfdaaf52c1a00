"""Watching calls: ``/metrics`` for Prometheus, ``/calls`` for programs, event streams for the page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Depends, HTTPException, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from engines.duplex import DuplexEngine
from telephony.calls import Call, Calls
from telephony.metrics import metrics
from telephony.onlookers import Onlookers

EVERY_S = 0.25
_LIST_EVERY_S = 1.0


def watching(calls: Calls, engine: DuplexEngine, onlookers: Onlookers) -> APIRouter:
    """Make the routes that tell of calls.

    The list names calls by the beginning of their SID only. Whoever knows a whole SID, which is as good
    as a secret, may follow the call's words: its own page, and a rehearsal.

    Args:
        calls: those of this process.
        engine: who answers them.
        onlookers: who may look.
    """
    registry = metrics(calls, engine)
    router = APIRouter(dependencies=[Depends(onlookers.check)])

    @router.get("/metrics")
    async def scrape() -> Response:
        """Everything since the start of the process."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    @router.get("/calls")
    def list_calls() -> dict[str, Any]:
        """The calls that run, with their figures."""
        return overview(calls, engine)

    @router.get("/calls/events", response_class=EventSourceResponse)
    async def follow_calls() -> AsyncIterator[ServerSentEvent]:
        """The same, again and again."""
        while calls.closing is None:
            yield ServerSentEvent(event="calls", data=overview(calls, engine))
            await asyncio.sleep(_LIST_EVERY_S)

    @router.get("/calls/{call_sid}")
    def show_call(call_sid: str) -> dict[str, Any]:
        """One call, while it runs and for a while after: its figures and what the bot said."""
        return details(_found(calls, call_sid))

    @router.get("/calls/{call_sid}/events", response_class=EventSourceResponse)
    async def follow_call(call_sid: str) -> AsyncIterator[ServerSentEvent]:
        """One call as it goes: ``figures`` four times a second, ``words`` if there are new ones, ``end``."""
        call = calls.find(call_sid)
        pieces = 0
        while call is not None and not call.over and calls.closing is None:
            yield ServerSentEvent(event="figures", data=figures(call))
            transcript = call.watched.transcript
            if transcript.pieces != pieces:
                pieces = transcript.pieces
                yield ServerSentEvent(event="words", data=words(call))
            await asyncio.sleep(EVERY_S)
        yield ServerSentEvent(event="end", data=None if call is None else details(call))

    return router


def overview(calls: Calls, engine: DuplexEngine) -> dict[str, Any]:
    """Give the list of calls, the oldest first."""
    running = sorted(calls.running, key=lambda call: call.began_s)
    return {
        "running": [{"name": call.name} | figures(call) for call in running],
        "served": calls.served,
        "refused": dict(calls.refused),
        "engine": engine.name,
        "sessions": engine.running,
        "capacity": engine.capacity,
    }


def figures(call: Call) -> dict[str, Any]:
    """Give a call's figures."""
    return {"secs": round(call.secs, 1), "over": call.over} | call.watched.figures.summary()


def words(call: Call) -> list[dict[str, Any]]:
    """Give the lines that the bot said."""
    lines = call.watched.transcript.lines
    return [{"at_s": round(line.at_s, 2), "text": line.text} for line in lines]


def details(call: Call) -> dict[str, Any]:
    """Give a call's figures and words."""
    return {"name": call.name} | figures(call) | {"words": words(call)}


def _found(calls: Calls, call_sid: str) -> Call:
    call = calls.find(call_sid)
    if call is None:
        raise HTTPException(404, "no such call, or it has been over for long")
    return call
