"""Reads a request's body up to a limit, and parses its JSON."""

from __future__ import annotations

import json
from typing import Any

from fastapi import HTTPException, Request
from starlette.requests import ClientDisconnect


async def read_body(request: Request, most_bytes: int) -> bytes:
    """Read a request's body.

    Raises:
        HTTPException: 413 if it is longer than ``most_bytes``; 400 if it is incomplete.
    """
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > most_bytes:
                raise HTTPException(413, f"expected at most {most_bytes} bytes")
    except ClientDisconnect as error:
        # The client is gone, but without this answer the log would contain a traceback.
        raise HTTPException(400, "expected a whole body") from error
    return bytes(body)


def parse_json(body: bytes, content_type: str) -> Any:
    """Parse a JSON body from one of our pages or a program.

    Args:
        body: as received.
        content_type: the request's header.

    Raises:
        HTTPException: 415 for another content type, 422 for invalid JSON.
    """
    # Browsers send JSON across sites only after a CORS preflight, which excludes other sites' pages.
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "expected application/json")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:  # RecursionError: thousands of nested brackets
        raise HTTPException(422, "expected JSON") from error
