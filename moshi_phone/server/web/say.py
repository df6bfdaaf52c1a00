"""``POST /calls/CALL_SID/say``: words that somebody chose, in the bot's voice, in a running call."""

from __future__ import annotations

from fastapi import APIRouter, Depends, HTTPException, Request

from moshi_phone.access.request_body import parse_json, read_body
from moshi_phone.server.web.calls_source import CallsSource
from moshi_phone.server.web.monitoring import Check

MAX_BODY_BYTES = 16 * 1024
_ERRORS = 400  # HTTP's begin there


def say_router(calls: CallsSource, check: Check) -> APIRouter:
    """Make the route. It takes ``{"text": "..."}``, and answers 202 once the words wait to be said.

    Args:
        calls: those that there are.
        check: raises HTTPException for who may not speak; the same as may look.
    """
    router = APIRouter(dependencies=[Depends(check)])

    @router.post("/calls/{call_sid}/say", status_code=202)
    async def say(call_sid: str, request: Request) -> None:
        """Have these words said; 409 where the engine cannot, 404 where there is no such call."""
        text = await read_text(request)
        status, reason = await calls.say(call_sid, text) or (404, "no such call")
        if status >= _ERRORS:
            raise HTTPException(status, reason)

    return router


async def read_text(request: Request) -> str:
    """Read what is to be said.

    Raises:
        HTTPException: 413, 415 or 422, where that is not what the request has.
    """
    body = await read_body(request, MAX_BODY_BYTES)
    said = parse_json(body, request.headers.get("content-type", ""))
    try:
        text = said["text"]
    except (TypeError, KeyError) as error:
        raise HTTPException(422, 'expected {"text": "..."}') from error
    if not isinstance(text, str):
        raise HTTPException(422, f"text: expected a string, got {type(text).__name__}")
    return text
