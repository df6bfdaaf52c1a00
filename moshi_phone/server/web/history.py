"""Routes of the Calls page: ended and running calls, their recordings, transcripts and reports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, Field

from moshi_phone.access.dashboard_auth import DashboardAuth
from moshi_phone.access.request_body import parse_json, read_body
from moshi_phone.records.call_row import Outcome
from moshi_phone.records.call_search import MAX_LIMIT, CallSearch
from moshi_phone.server.web.browser_phone import page_response
from moshi_phone.server.web.calls_page import CallsPage
from moshi_phone.server.web.page_file import file_response
from moshi_phone.server.web.say import read_text

_BODY_BYTES = 4 * 1024  # a request's JSON; {"text": …} and {"whole_caller": …} need far less
_TOLD_EVERY_S = 1.0  # how often the list of running calls is sent
_NO_STORE = {"Cache-Control": "no-store"}  # recordings and words of callers stay out of every cache
_FILE_HEADERS = _NO_STORE | {"X-Content-Type-Options": "nosniff"}  # a WAV is never run as anything else


class Question(BaseModel):
    """Query parameters of ``/history/calls``; an empty value sets no filter.

    Attributes:
        number: substring of a phone number.
        since: start time, UTC, ISO 8601, in the format of the rows.
        until: end time, same format.
        outcome: one of ``Outcome``.
        before_at: ``began_at`` of the last row of the previous page.
        before_id: ``id`` of that row.
        limit: maximum number of rows.
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
        """The query as a search over rows."""
        return CallSearch(
            number=self.number or None,
            since=self.since or None,
            until=self.until or None,
            outcome=self.outcome,
            # the cursor of the next page
            before=(self.before_at, self.before_id) if self.before_at else None,
            limit=self.limit,
        )


def history_router(calls: CallsPage, auth: DashboardAuth) -> APIRouter:
    """Build the routes; they require access to the browser phone.

    Args:
        calls: the calls.
        auth: access control of the pages.
    """
    router = APIRouter(prefix="/history")
    # every route but the page itself: a refused browser gets an HTML page there
    checked = [Depends(auth.check)]

    @router.get("")
    async def page(request: Request) -> Response:
        """Return the page."""
        return await page_response("calls.html", request, auth)

    router.include_router(_reading(calls), dependencies=checked)
    router.include_router(_acting(calls), dependencies=checked)
    return router


def _reading(calls: CallsPage) -> APIRouter:
    router = APIRouter()

    @router.get("/calls")
    async def list_calls(question: Annotated[Question, Query()]) -> JSONResponse:
        """Return the matching calls, newest first."""
        return JSONResponse(await calls.find(question.search), headers=_NO_STORE)

    @router.get("/running", response_class=EventSourceResponse)
    async def follow() -> AsyncIterator[ServerSentEvent]:
        """Stream the running calls once a second, with a version that changes with every call."""
        while True:
            yield ServerSentEvent(event="running", data=await calls.running())
            # A page that stays connected would keep a closing server from stopping.
            if calls.is_over():
                return
            await asyncio.sleep(_TOLD_EVERY_S)

    @router.get("/calls/{row_id}")
    async def show(row_id: str) -> JSONResponse:
        """Return one call: row, transcript and report."""
        return JSONResponse(await calls.details(row_id), headers=_NO_STORE)

    @router.get("/calls/{row_id}/recordings/{number}")
    async def recording(row_id: str, number: int, request: Request) -> Response:
        """Return a recording, whole or by HTTP range."""
        return file_response(await calls.recording(row_id, number), request, "audio/wav", _FILE_HEADERS)

    @router.get("/calls/{row_id}/recordings/{number}/levels")
    async def levels(row_id: str, number: int) -> JSONResponse:
        """Return the loudness of both voices over time."""
        return JSONResponse(await calls.levels(row_id, number), headers=_NO_STORE)

    @router.get("/calls/{row_id}/picture")
    async def picture(row_id: str, request: Request) -> Response:
        """Return the picture of the call's report."""
        return file_response(await calls.picture(row_id), request, "image/png", _FILE_HEADERS)

    return router


def _acting(calls: CallsPage) -> APIRouter:
    router = APIRouter()

    @router.post("/calls/{row_id}/hang-up", status_code=202)
    async def hang_up(row_id: str, request: Request) -> None:
        """End a running call."""
        await _json(request)  # rejects a form post from another site; the body itself is empty
        await calls.hang_up(row_id)

    @router.post("/calls/{row_id}/transfer", status_code=202)
    async def transfer(row_id: str, request: Request) -> None:
        """Transfer a running call to a person. 409: the call cannot be transferred."""
        await _json(request)
        await calls.transfer(row_id)

    @router.post("/calls/{row_id}/say", status_code=202)
    async def say(row_id: str, request: Request) -> None:
        """Say a text in a running call."""
        await calls.say(row_id, await read_text(request))

    @router.post("/calls/{row_id}/delete")
    async def delete(row_id: str, request: Request) -> JSONResponse:
        """Delete a call, or all calls of its caller (``{"whole_caller": true}``), with their files."""
        asked = await _json(request)
        # only `true` itself may delete more than one call
        erased = await calls.erase(row_id, whole_caller=asked.get("whole_caller") is True)
        return JSONResponse(erased, headers=_NO_STORE)

    return router


async def _json(request: Request) -> dict[str, Any]:
    """Read a JSON object. Its content type keeps other sites' forms out (``parse_json``)."""
    said = parse_json(await read_body(request, _BODY_BYTES), request.headers.get("content-type", ""))
    if not isinstance(said, dict):
        raise HTTPException(422, "expected a JSON object")
    return said
