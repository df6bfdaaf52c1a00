"""The browser phone: serves its page, and lets each call of it in with a token of its own."""

from __future__ import annotations

import secrets
from pathlib import Path

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import FileResponse, JSONResponse

from moshi_phone.access.dashboard_auth import DashboardAuth
from moshi_phone.access.request_body import read_body
from moshi_phone.server.calls.pending import ExpectedCall
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.web.offers import MAX_BODY_BYTES, chosen, offers
from moshi_phone.server.web.refusal_page import refusal_page

WEB = Path(__file__).resolve().parents[2] / "web"
# Listed beforehand: so no name from outside is ever looked up on the disk.
_FILES = {path.name: path for path in sorted(WEB.iterdir()) if path.is_file()}
_POLICY = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'"
_HEADERS = {
    "Cache-Control": "no-cache",  # kept, but asked about each time: a new version must not meet an old script
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def page_files(dashboard_auth: DashboardAuth, connect_to: str = "'self'") -> APIRouter:
    """Make the routes of the page itself.

    Args:
        dashboard_auth: who may see it.
        connect_to: where the page may open streams, as its Content-Security-Policy says it.
    """
    router = APIRouter()
    headers = _HEADERS | {"Content-Security-Policy": f"{_POLICY}; connect-src {connect_to}"}

    @router.get("/")
    async def page(request: Request) -> Response:
        """The phone; a browser that is not let in gets a page, too, which says how to get in."""
        try:
            await dashboard_auth.check(request)
        except HTTPException as refusal:
            if "text/html" not in request.headers.get("accept", ""):
                raise
            return refusal_page(refusal)
        response = FileResponse(_FILES["index.html"], headers=headers)
        dashboard_auth.remember(request, response)
        return response

    @router.get("/web/{name}", dependencies=[Depends(dashboard_auth.check)])
    def part(name: str) -> FileResponse:
        """What the page is made of; 404 for any other name."""
        if name not in _FILES:
            raise HTTPException(404, "no such file")
        return FileResponse(_FILES[name], headers=_HEADERS)

    return router


def browser_phone(state: ServerState) -> APIRouter:
    """Make the routes of the page and of its calls.

    Args:
        state: says who may talk, and with whom; makes the token that lets one stream of a call in.
    """
    router, checked = APIRouter(), [Depends(state.dashboard_auth.check)]
    router.include_router(page_files(state.dashboard_auth))

    @router.get("/offers", dependencies=checked)
    def offered() -> JSONResponse:
        """Name the personas and the voices that a call may ask for."""
        return JSONResponse(offers(state), headers={"Cache-Control": "no-store"})

    @router.post("/web/call", dependencies=checked)
    async def new_call(request: Request) -> JSONResponse:
        """Name a new call, and give the token that its stream must show; what it asks for is made ready."""
        body = await read_body(request, MAX_BODY_BYTES)
        wanted = chosen(state, body, request.headers.get("content-type", ""))
        # As hard to guess as Twilio's own: whoever knows it may follow the call's words.
        call_sid = f"CA{secrets.token_hex(16)}"
        if wanted.wishes:
            state.expected.add(call_sid, ExpectedCall(request=wanted), state.clock())
        return JSONResponse(
            {"callSid": call_sid, "token": state.mint(call_sid)}, headers={"Cache-Control": "no-store"}
        )

    return router
