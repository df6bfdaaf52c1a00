"""``POST /calls/CALL_SID/say``: the bot says a given text in a running call."""

from __future__ import annotations

from fastapi import APIRouter, Depends, HTTPException, Request

from moshi_phone.access.request_body import parse_json, read_body
from moshi_phone.server.web.calls_source import CallsSource
from moshi_phone.server.web.monitoring import CheckAccess

MAX_BODY_BYTES = 16 * 1024  # ample; the session limits its queue
_ERRORS = 400  # first HTTP error status


def say_router(calls: CallsSource, check: CheckAccess) -> APIRouter:
    """Build the route. It accepts ``{"text": "..."}`` and answers 202 once the text is queued.

    Args:
        calls: source of the calls.
        check: raises HTTPException for a client without access; the same as for monitoring.
    """
    router = APIRouter(dependencies=[Depends(check)])

    @router.post("/calls/{call_sid}/say", status_code=202)
    async def say(call_sid: str, request: Request) -> None:
        """Say a text. 409: the engine cannot. 404: no such call."""
        text = await read_text(request)
        status, reason = await calls.say(call_sid, text) or (404, "no such call")
        if status >= _ERRORS:
            raise HTTPException(status, reason)

    return router


async def read_text(request: Request) -> str:
    """Read the text to say.

    Raises:
        HTTPException: 413, 415 or 422 for an invalid request.
    """
    body = await read_body(request, MAX_BODY_BYTES)
    said = parse_json(body, request.headers.get("content-type", ""))
    try:
        text = said["text"]
    except (TypeError, KeyError) as error:  # not an object, or one without "text"
        raise HTTPException(422, 'expected {"text": "..."}') from error
    if not isinstance(text, str):
        raise HTTPException(422, f"text: expected a string, got {type(text).__name__}")
    return text
