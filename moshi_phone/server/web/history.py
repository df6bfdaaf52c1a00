"""The Calls page's routes: calls that are over and calls that run, their recordings, words and reports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, Field

from moshi_phone.access.request_body import parse_json, read_body
from moshi_phone.engines.duplex import Unsupported
from moshi_phone.records import call_files
from moshi_phone.records.call_row import Outcome
from moshi_phone.records.call_search import MAX_LIMIT, CallSearch
from moshi_phone.server.calls.call import CallClosed
from moshi_phone.server.calls.control import CallControl
from moshi_phone.server.calls.erasing import ErasingFailed, erase
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.web.browser_phone import page_response
from moshi_phone.server.web.history_source import HistorySource
from moshi_phone.server.web.say import read_text

_BODY_BYTES = 4 * 1024
_TOLD_EVERY_S = 1.0
_NO_STORE = {"Cache-Control": "no-store"}
_FILE_HEADERS = _NO_STORE | {"X-Content-Type-Options": "nosniff"}


class Question(BaseModel):
    """The query of ``/history/calls``; an empty value asks nothing.

    Attributes:
        number: a part of a number.
        since: UTC, ISO 8601, as rows have it.
        until: likewise.
        outcome: one of ``Outcome``.
        before_at: ``began_at`` of the last row that is known.
        before_id: its ``id``.
        limit: how many.
    """

    number: str = Field("", max_length=64)
    since: str = Field("", max_length=30)
    until: str = Field("", max_length=30)
    outcome: Outcome | None = None
    before_at: str = Field("", max_length=30)
    before_id: str = Field("", max_length=64)
    limit: int = Field(50, ge=1, le=MAX_LIMIT)

    @property
    def search(self) -> CallSearch:
        """The same, for rows."""
        return CallSearch(
            number=self.number or None,
            since=self.since or None,
            until=self.until or None,
            outcome=self.outcome,
            before=(self.before_at, self.before_id) if self.before_at else None,
            limit=self.limit,
        )


def history_router(state: ServerState) -> APIRouter:
    """Make the routes, for who may see the browser phone.

    Args:
        state: what the calls share.
    """
    router, history = APIRouter(prefix="/history"), HistorySource(state)
    checked = [Depends(state.dashboard_auth.check)]

    @router.get("")
    async def page(request: Request) -> Response:
        """The page itself."""
        return await page_response("calls.html", request, state.dashboard_auth)

    router.include_router(_reading(state, history), dependencies=checked)
    router.include_router(_acting(state, history), dependencies=checked)
    return router


def _reading(state: ServerState, history: HistorySource) -> APIRouter:
    router = APIRouter()

    @router.get("/calls")
    async def list_calls(question: Annotated[Question, Query()]) -> JSONResponse:
        """The calls that are looked for, the newest first."""
        return JSONResponse(await history.find(question.search), headers=_NO_STORE)

    @router.get("/running", response_class=EventSourceResponse)
    async def follow() -> AsyncIterator[ServerSentEvent]:
        """The calls that run, once a second, and a number that changes with every call."""
        while True:
            yield ServerSentEvent(event="running", data=history.running())
            if state.calls.closing is not None and not state.calls.running:
                return
            await asyncio.sleep(_TOLD_EVERY_S)

    @router.get("/calls/{row_id}")
    async def show(row_id: str) -> JSONResponse:
        """One call: its row, its words, its report."""
        return JSONResponse(await history.details(await history.row(row_id)), headers=_NO_STORE)

    @router.get("/calls/{row_id}/recordings/{number}")
    async def recording(row_id: str, number: int) -> FileResponse:
        """A recording, whole or in ranges, as players ask for it."""
        path = await history.recording(row_id, number)
        return FileResponse(path, media_type="audio/wav", headers=_FILE_HEADERS)

    @router.get("/calls/{row_id}/recordings/{number}/levels")
    async def levels(row_id: str, number: int) -> JSONResponse:
        """How loud both voices are over time."""
        path = await history.recording(row_id, number)
        return JSONResponse(await history.levels(path), headers=_NO_STORE)

    @router.get("/calls/{row_id}/picture")
    async def picture(row_id: str) -> FileResponse:
        """The picture of the call's report."""
        row = await history.row(row_id)
        path = await history.on_disk(lambda: call_files.picture(row))
        if path is None:
            raise HTTPException(404, "this call has no picture")
        return FileResponse(path, media_type="image/png", headers=_FILE_HEADERS)

    return router


def _acting(state: ServerState, history: HistorySource) -> APIRouter:
    router = APIRouter()

    @router.post("/calls/{row_id}/hang-up", status_code=202)
    async def hang_up(row_id: str, request: Request) -> None:
        """End a running call."""
        await _json(request)
        history.call(row_id).request_end("the Calls page hung up")

    @router.post("/calls/{row_id}/transfer", status_code=202)
    async def transfer(row_id: str, request: Request) -> None:
        """Put the caller of a running call through to a person; 409 where that cannot be."""
        await _json(request)
        call = history.call(row_id)
        if not CallControl(call, state).transfer("The Calls page transfers the call"):
            raise HTTPException(409, "The call cannot be transferred; the log says why.")

    @router.post("/calls/{row_id}/say", status_code=202)
    async def say(row_id: str, request: Request) -> None:
        """Have these words said in a running call."""
        text = await read_text(request)
        try:
            history.call(row_id).say(text)
        except CallClosed as error:
            raise HTTPException(404, str(error)) from error
        except Unsupported as error:
            raise HTTPException(409, str(error)) from error
        except ValueError as error:
            raise HTTPException(422, str(error)) from error

    @router.post("/calls/{row_id}/delete")
    async def delete(row_id: str, request: Request) -> JSONResponse:
        """Delete a call, or with ``{"whole_caller": true}`` all calls of its caller; files and all."""
        asked = await _json(request)
        row = await history.row(row_id)
        try:
            erased = await erase(state, row, whole_caller=asked.get("whole_caller") is True)
        except ErasingFailed as error:
            raise HTTPException(503, str(error)) from error
        return JSONResponse(asdict(erased), headers=_NO_STORE)

    return router


async def _json(request: Request) -> dict[str, Any]:
    """Read a JSON object; a page of a stranger's cannot send one (``parse_json``)."""
    said = parse_json(await read_body(request, _BODY_BYTES), request.headers.get("content-type", ""))
    if not isinstance(said, dict):
        raise HTTPException(422, "expected a JSON object")
    return said
