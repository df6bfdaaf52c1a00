"""The first messages of a stream, up to its ``start``: what must come, and within what time."""

from __future__ import annotations

import asyncio

from fastapi import WebSocket

from moshi_phone.access.refusal import POLICY_VIOLATION, PROTOCOL_ERROR, UNSUPPORTED, StreamRefused
from moshi_phone.telephony.media_stream import BadMessage, Connected, Start, parse


async def read_start(websocket: WebSocket, *, within_secs: float) -> Start:
    """Read an accepted socket up to the ``start`` message.

    Raises:
        StreamRefused: when something else comes, or nothing does, or the audio is not µ-law at 8 kHz.
    """
    try:
        async with asyncio.timeout(within_secs):
            start = await _first_start(websocket)
    except TimeoutError as error:
        raise StreamRefused(
            "late", POLICY_VIOLATION, f"expected a start within {within_secs:g} s, got none"
        ) from error
    if not start.is_phone_audio:
        raise StreamRefused(
            "format", UNSUPPORTED, "expected audio/x-mulaw at 8000 Hz with 1 channel, got another mediaFormat"
        )
    return start


async def _first_start(websocket: WebSocket) -> Start:
    while True:
        try:
            event = parse(await _receive(websocket))
        except BadMessage:
            continue  # as in a running stream: what cannot be understood is skipped
        if isinstance(event, Start):
            return event
        if not isinstance(event, Connected):
            raise StreamRefused(
                "protocol", PROTOCOL_ERROR, f"expected start first, got {type(event).__name__.lower()}"
            )


async def _receive(websocket: WebSocket) -> str | bytes:
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        raise StreamRefused("protocol", PROTOCOL_ERROR, "expected a start, but the socket was closed")
    text: str | None = message.get("text")
    return text if text is not None else bytes(message.get("bytes") or b"")
