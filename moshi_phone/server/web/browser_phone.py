"""The browser phone: its page, static files and calls, and the error page for refused browsers."""

from __future__ import annotations

import base64
import hashlib
import html
import secrets
from collections.abc import Mapping
from pathlib import Path
from string import Template

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse

from moshi_phone.access.dashboard_auth import DashboardAuth
from moshi_phone.access.request_body import parse_json, read_body
from moshi_phone.access.source import source_of
from moshi_phone.engines.duplex import CallOverrides, RequestRefused
from moshi_phone.server.calls.pending import PendingCall
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.web.calls_source import CallsSource

_STYLE = """
html { background: Canvas; color: CanvasText; }
body { max-width: 36rem; margin: 12vh auto; padding: 0 1.5rem; font: 1rem/1.6 system-ui, sans-serif; }
h1 { font-size: 1.35rem; }
code { padding: 0.1em 0.3em; border-radius: 0.3em; background: rgb(128 128 128 / 15%); }
li { margin-bottom: 0.8rem; overflow-wrap: anywhere; }
"""
_PAGE = Template("""<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <title>No access – Moshi on the phone</title>
    <style>$style</style>
  </head>
  <body>
    <main>
      <h1>Moshi on the phone</h1>
      <p>$reason</p>
      $how
    </main>
  </body>
</html>
""")
_HOW = {
    401: """<p>The user name may be anything; the password is the server’s <code>MOSHI_WEB_PASSWORD</code>.
        Reload the page to enter it again.</p>""",
    403: """<p>There are two ways to open this page:</p>
      <ul>
        <li>With a password, from anywhere. Choose one of 8 characters or more, put it into <code>.env</code>
          as <code>MOSHI_WEB_PASSWORD=…</code>, and start the server with
          <code>uv run bot.py --web</code>.</li>
        <li>Without a password, on the machine that runs the server, while nothing makes it public: start it
          without a tunnel, public URL or host, and open <code>http://localhost:5001</code>.</li>
      </ul>""",
}
# The policy below allows this one style by its hash, without 'unsafe-inline'.
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_REFUSAL_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def refusal_page(refusal: HTTPException) -> HTMLResponse:
    """Build the error page; status and headers are those of the refusal."""
    content = _PAGE.substitute(
        style=_STYLE, reason=html.escape(str(refusal.detail)), how=_HOW.get(refusal.status_code, "")
    )
    return HTMLResponse(content, refusal.status_code, _REFUSAL_HEADERS | dict(refusal.headers or {}))


MAX_BODY_BYTES = 4 * 1024  # far more than two names need


def offers(state: ServerState) -> dict[str, list[str]]:
    """Return the names of the personas and voices on offer. Persona prompts stay on the server."""
    supported_overrides = state.engine.supported_overrides
    return {  # a page offers only what the engine can apply
        "personas": state.personas.names if "persona" in supported_overrides else [],
        "voices": list(state.engine.voices) if "voice" in supported_overrides else [],
    }


def chosen(state: ServerState, body: bytes, content_type: str) -> PendingCall:
    """Parse a page's choices and prepare the engine for them.

    Args:
        state: lists the choices on offer.
        body: ``{"persona": NAME, "voice": NAME}``; each key, and the whole body, is optional.
        content_type: of the body.

    Raises:
        HTTPException: 415 or 422 for an invalid choice, 409 if the engine rejects it.
    """
    if not body.strip():
        return PendingCall(is_browser=True)
    asked = parse_json(body, content_type)
    if not isinstance(asked, dict) or not all(isinstance(value, str) for value in asked.values()):
        raise HTTPException(422, 'expected {"persona": "...", "voice": "..."}')
    # Only names on offer: a persona's prompt never comes from a page.
    offered = offers(state)
    for name, names in (("persona", offered["personas"]), ("voice", offered["voices"])):
        if asked.get(name) and asked[name] not in names:
            raise HTTPException(422, f"{name}: expected one of the offered values")
    request = CallOverrides(voice=asked.get("voice") or None)
    if asked.get("persona"):
        # the chosen voice wins over the persona's
        request = request.or_else(state.personas.select(asked["persona"]))
    try:
        state.engine.prepare(request)  # starts in the background; the stream comes a moment later
    except RequestRefused as refusal:
        raise HTTPException(409, str(refusal)) from refusal
    section = asked.get("persona") or None  # checked above
    return PendingCall(request=request, section=section, is_browser=True)


WEB = Path(__file__).resolve().parents[2] / "web"
# Listed once: no name from outside is ever looked up on the disk.
_FILES = {path.name: path for path in sorted(WEB.iterdir()) if path.is_file()}
_POLICY = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'"
_HEADERS = {
    "Cache-Control": "no-cache",  # revalidate each time: a new version must not meet an old script
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


async def page_response(
    name: str, request: Request, dashboard_auth: DashboardAuth, headers: Mapping[str, str] = _HEADERS
) -> Response:
    """Return a page, or an error page with the remedy for a browser without access.

    Args:
        name: file name of the page.
        request: the request for it.
        dashboard_auth: decides on access.
        headers: of the response.

    Raises:
        HTTPException: for a client without access that is not a browser.
    """
    try:
        await dashboard_auth.check(request)
    except HTTPException as refusal:
        # Programs get the plain error: a page would hide its status from them.
        if "text/html" not in request.headers.get("accept", ""):
            raise
        return refusal_page(refusal)
    response = FileResponse(_FILES[name], headers=dict(headers))
    dashboard_auth.remember(request, response)  # a cookie for a device that has sent the password
    return response


def page_files_router(dashboard_auth: DashboardAuth, connect_to: str = "'self'") -> APIRouter:
    """Build the routes of the page and its files.

    Args:
        dashboard_auth: decides on access.
        connect_to: origins to which the page may open streams, in the syntax of its Content-Security-Policy.
    """
    router = APIRouter()
    headers = _HEADERS | {"Content-Security-Policy": f"{_POLICY}; connect-src {connect_to}"}

    @router.get("/")
    async def page(request: Request) -> Response:
        """Return the phone page."""
        return await page_response("index.html", request, dashboard_auth, headers)

    @router.get("/web/{name}", dependencies=[Depends(dashboard_auth.check)])
    def part(name: str) -> FileResponse:
        """Return a file of the page. 404: any other name."""
        if name not in _FILES:
            raise HTTPException(404, "no such file")
        return FileResponse(_FILES[name], headers=_HEADERS)

    return router


def browser_phone_router(
    calls: CallsSource, dashboard_auth: DashboardAuth, connect_to: str = "'self'"
) -> APIRouter:
    """Build the routes of the page and its calls.

    Args:
        calls: prepares the page's calls.
        dashboard_auth: decides on access to the page and its calls.
        connect_to: origins to which the page may open streams, in the syntax of its Content-Security-Policy.
    """
    router, checked = APIRouter(), [Depends(dashboard_auth.check)]
    router.include_router(page_files_router(dashboard_auth, connect_to))

    @router.get("/offers", dependencies=checked)
    async def offered() -> JSONResponse:
        """Return the names of the personas and voices on offer."""
        return JSONResponse(await calls.offers(), headers={"Cache-Control": "no-store"})

    @router.post("/web/call", dependencies=checked)
    async def new_call(request: Request) -> JSONResponse:
        """Create a call: prepare the engine, and return its SID and the token of its stream."""
        body, content_type = await read_body(request, MAX_BODY_BYTES), request.headers.get("content-type", "")
        # As hard to guess as Twilio's: a SID gives access to the call's transcript.
        call_sid = f"CA{secrets.token_hex(16)}"
        ready = await calls.create_browser_call(call_sid, body, content_type, source_of(request))
        return JSONResponse(ready, headers={"Cache-Control": "no-store"})

    return router
