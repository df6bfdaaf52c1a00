"""The browser phone: serves its page, and lets each call of it in with a token of its own."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import FileResponse, JSONResponse

from access.dashboard_auth import DashboardAuth
from server.refusal_page import refusal_page

WEB = Path(__file__).resolve().parent.parent / "web"
_FILES = {path.name: path for path in sorted(WEB.iterdir()) if path.is_file()}
_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def browser_phone(mint: Callable[[str], str], dashboard_auth: DashboardAuth) -> APIRouter:
    """Make the routes of the page.

    Args:
        mint: makes the token that lets one stream of a call in, given the call's SID.
        dashboard_auth: who may talk.
    """
    router = APIRouter()
    checked = [Depends(dashboard_auth.check)]

    @router.get("/")
    async def page(request: Request) -> Response:
        """The phone; a browser that is not let in gets a page, too, which says how to get in."""
        try:
            await dashboard_auth.check(request)
        except HTTPException as refusal:
            if "text/html" not in request.headers.get("accept", ""):
                raise
            return refusal_page(refusal)
        response = FileResponse(_FILES["index.html"], headers=_HEADERS)
        dashboard_auth.remember(request, response)
        return response

    @router.get("/web/{name}", dependencies=checked)
    def part(name: str) -> FileResponse:
        """What the page is made of."""
        if name not in _FILES:
            raise HTTPException(404, "no such file")
        return FileResponse(_FILES[name], headers=_HEADERS)

    @router.post("/web/call", dependencies=checked)
    def new_call() -> JSONResponse:
        """Name a new call, and give the token that its stream must show."""
        call_sid = f"CA{secrets.token_hex(16)}"
        return JSONResponse(
            {"callSid": call_sid, "token": mint(call_sid)}, headers={"Cache-Control": "no-store"}
        )

    return router
