"""A request's body, up to a limit."""

from __future__ import annotations

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
        # Nobody is there to read the answer; without this it would be a traceback in the log.
        raise HTTPException(400, "expected a whole body") from error
    return bytes(body)
