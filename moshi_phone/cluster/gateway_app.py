"""The desk's HTTP side: the webhooks, and what one server tells of itself, for all workers together."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from moshi_phone.access.refusal import Where
from moshi_phone.access.request_body import read_body
from moshi_phone.access.source import source_of
from moshi_phone.cluster.aggregate import aggregate_health, merged_metrics, merged_overview
from moshi_phone.cluster.fleet import state_of
from moshi_phone.cluster.rpc import RpcError
from moshi_phone.server.web.admin import Check, admin_check
from moshi_phone.server.web.browser_phone import MAX_BODY_BYTES, page_files_router
from moshi_phone.server.web.say import read_text
from moshi_phone.telephony.webhooks import webhooks

if TYPE_CHECKING:
    from moshi_phone.cluster.gateway import Gateway

_NO_STORE = {"Cache-Control": "no-store"}
_LIST_EVERY_S = 1.0
_CALL_EVERY_S = 0.5


def create_desk_app(gateway: Gateway) -> FastAPI:
    """Make the app of one desk."""
    app, router = _app_with_health(gateway, gateway.is_public), gateway.router
    app.include_router(webhooks(gateway.stream_auth, router.refusals, router.answer, router.after_transfer))
    app.include_router(_watching(gateway, gateway.dashboard_auth.check))
    app.include_router(_page_calls(gateway))
    # Streams of the page go to the workers, which are other origins.
    app.include_router(page_files_router(gateway.dashboard_auth, connect_to="'self' ws: wss:"))
    return app


def create_desk_admin_app(gateway: Gateway) -> FastAPI:
    """Make the app of ``--admin-port``, as one server has it (``server/admin_app.py``)."""
    app = _app_with_health(gateway, lambda: False)
    app.include_router(_watching(gateway, admin_check(gateway.web)))
    return app


def _app_with_health(gateway: Gateway, is_public: Callable[[], bool]) -> FastAPI:
    app = FastAPI(
        title="Moshi on the phone", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False
    )

    @app.get("/healthz")
    def health_router() -> JSONResponse:
        """Whether the next call would find somebody."""
        router = gateway.router
        report = aggregate_health(
            router.reports,
            router.workers.keys(),
            gateway.closing,
            gateway.refused_by_cause(),
            is_public=is_public(),
        )
        return JSONResponse(report, status_code=200 if report["ready"] else 503)

    return app


def _watching(gateway: Gateway, check: Check) -> APIRouter:
    routes = APIRouter(dependencies=[Depends(check)])
    router = gateway.router

    async def overview() -> dict[str, Any]:
        overviews = await router.ask_all(lambda worker: worker.overview())
        return merged_overview(
            router.reports, router.workers.keys(), gateway.closing, overviews, gateway.refused_by_cause()
        )

    @routes.get("/metrics")
    async def scrape() -> Response:
        """The metrics of all workers."""

        async def of(name: str) -> tuple[str, str] | None:
            return name, await router.workers[name].scrape()

        texts = dict(await router.ask_all(lambda worker: of(worker.name)))
        states = {name: state_of(router.reports.get(name)) for name in router.workers}
        return Response(merged_metrics(texts, states, gateway.all_refusals()), media_type=CONTENT_TYPE_LATEST)

    @routes.get("/calls")
    async def list_calls() -> dict[str, Any]:
        """The calls that run, with their metrics and workers."""
        return await overview()

    @routes.get("/calls/events", response_class=EventSourceResponse)
    async def follow_calls() -> AsyncIterator[ServerSentEvent]:
        """The same, again and again."""
        while True:
            yield ServerSentEvent(event="calls", data=await overview())
            await asyncio.sleep(_LIST_EVERY_S)

    @routes.get("/calls/{call_sid}")
    async def show_call(call_sid: str) -> dict[str, Any]:
        """One call, while it runs and for a while after."""
        return await _details(gateway, call_sid)

    @routes.get("/calls/{call_sid}/events", response_class=EventSourceResponse)
    async def follow_call(call_sid: str) -> AsyncIterator[ServerSentEvent]:
        """One call as it goes: ``metrics`` and ``words`` twice a second, ``end``."""
        told: dict[str, Any] | None = None
        try:
            while not (told := await _details(gateway, call_sid))["over"]:
                yield ServerSentEvent(
                    event="metrics", data={name: told[name] for name in told.keys() - {"words", "name"}}
                )
                yield ServerSentEvent(event="words", data=told["words"])
                await asyncio.sleep(_CALL_EVERY_S)
        except HTTPException:
            pass  # the call is gone, or its worker
        yield ServerSentEvent(event="end", data=told)

    @routes.post("/calls/{call_sid}/say", status_code=202)
    async def say(call_sid: str, request: Request) -> None:
        """Have these words said; 409 where the engine cannot, 404 where there is no such call."""
        text = await read_text(request)
        answers = await router.ask_all(lambda worker: worker.say(call_sid, text))
        status, why = answers[0] if answers else (404, "no such call")
        if status >= 400:  # noqa: PLR2004 - HTTP's errors begin there
            raise HTTPException(status, why)

    return routes


def _page_calls(gateway: Gateway) -> APIRouter:
    routes = APIRouter(dependencies=[Depends(gateway.dashboard_auth.check)])

    @routes.get("/offers")
    async def offered() -> JSONResponse:
        """Name the personas and the voices that a call may ask for."""
        found = await gateway.router.ask_all(lambda worker: worker.offers())
        # Of an update that changes them, only what all workers have is offered.
        names = {what: _common([one[what] for one in found]) for what in ("personas", "voices")}
        return JSONResponse(names, headers=_NO_STORE)

    @routes.post("/web/call")
    async def new_call(request: Request) -> JSONResponse:
        """Name a new call of the page, and say which worker's stream takes it, and with which token."""
        body = await read_body(request, MAX_BODY_BYTES)
        call_sid = f"CA{secrets.token_hex(16)}"
        ready = await gateway.router.create_browser_call(
            call_sid, body, request.headers.get("content-type", "")
        )
        if ready is None:
            refusal = gateway.router.no_session()
            gateway.router.refusals.note(Where.BROWSER, refusal, call_sid=call_sid, peer=source_of(request))
            raise HTTPException(503, refusal.reason)
        status, token, stream = ready
        if status != 200:  # noqa: PLR2004
            raise HTTPException(status, token)
        return JSONResponse({"callSid": call_sid, "token": token, "stream": stream}, headers=_NO_STORE)

    return routes


def _common(lists: list[list[str]]) -> list[str]:
    return [name for name in (lists[0] if lists else ()) if all(name in one for one in lists)]


async def _details(gateway: Gateway, call_sid: str) -> dict[str, Any]:
    try:
        found = await gateway.router.ask_all(lambda worker: worker.details(call_sid))
    except RpcError as error:
        raise HTTPException(503, str(error)) from error
    if not found:
        raise HTTPException(404, "no such call, or it has been over for long")
    return found[0]
