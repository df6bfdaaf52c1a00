"""Reads a request's body up to a limit, and parses its JSON."""

from __future__ import annotations

import json
from typing import Any

from fastapi import HTTPException, Request
from starlette.requests import ClientDisconnect


async def read_body(request: Request, most_bytes: int) -> bytes:
    """Read it.

    Raises:
        HTTPException: 413 when it is longer; 400 when it was not sent to its end.
    """
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > most_bytes:
                raise HTTPException(413, f"expected at most {most_bytes} bytes")
    except ClientDisconnect as error:
        # Nobody reads this answer, but without it the log would get a traceback.
        raise HTTPException(400, "expected a whole body") from error
    return bytes(body)


def parse_json(body: bytes, content_type: str) -> Any:
    """Parse a body that one of our pages, or a program, has sent.

    Args:
        body: whatever was sent.
        content_type: as the request's header says it.

    Raises:
        HTTPException: 415 when it does not say that it is JSON, 422 when it is none.
    """
    # Browsers send JSON across sites only after a CORS preflight, so no other site's page gets here.
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "expected application/json")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:  # the latter for thousands of brackets in each other
        raise HTTPException(422, "expected JSON") from error
