"""The browser phone: serves its page, and lets each call of it in with a token of its own."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

from fastapi import APIRouter, Depends, HTTPException
from fastapi.responses import FileResponse, JSONResponse

from access.dashboard_auth import DashboardAuth

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
    router = APIRouter(dependencies=[Depends(dashboard_auth.check)])

    @router.get("/")
    def page() -> FileResponse:
        """The phone."""
        return FileResponse(_FILES["index.html"], headers=_HEADERS)

    @router.get("/web/{name}")
    def part(name: str) -> FileResponse:
        """What the page is made of."""
        if name not in _FILES:
            raise HTTPException(404, "no such file")
        return FileResponse(_FILES[name], headers=_HEADERS)

    @router.post("/web/call")
    def new_call() -> JSONResponse:
        """Name a new call, and give the token that its stream must show."""
        call_sid = f"CA{secrets.token_hex(16)}"
        return JSONResponse(
            {"callSid": call_sid, "token": mint(call_sid)}, headers={"Cache-Control": "no-store"}
        )

    return router
