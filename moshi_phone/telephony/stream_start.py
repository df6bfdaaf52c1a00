"""The first messages of a Twilio stream, up to ``start``: their order, size and time limits."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from fastapi import WebSocket

from moshi_phone.access.refusal import RefusalCause, StreamRefused
from moshi_phone.telephony.media_stream import BadMessage, Connected, Start, parse

MAX_MESSAGES, MAX_BYTES = 8, 64 * 1024  # Twilio sends two messages, of one or two kilobytes in all
_MAX_START_BYTES = 16 * 1024  # TwiML, and thus its parameters, has at most 4,000 characters


async def read_start(websocket: WebSocket, *, within_secs: float, first: Sequence[str] = ()) -> Start:
    """Read an accepted socket up to the ``start`` message.

    Args:
        websocket: accepted.
        within_secs: time limit.
        first: messages already read.

    Raises:
        StreamRefused: on another message, too much data, silence, or audio that is not 8 kHz µ-law.
    """
    try:
        async with asyncio.timeout(within_secs):
            start = await _first_start(websocket, first)
    except TimeoutError as error:
        raise StreamRefused(
            RefusalCause.LATE, f"expected a start within {within_secs:g} s, got none"
        ) from error
    if not start.is_phone_audio:
        raise StreamRefused(
            RefusalCause.FORMAT, "expected audio/x-mulaw at 8000 Hz with 1 channel, got another mediaFormat"
        )
    return start


async def _first_start(websocket: WebSocket, first: Sequence[str]) -> Start:
    left_bytes = MAX_BYTES
    for index in range(MAX_MESSAGES):
        message = first[index] if index < len(first) else await _receive(websocket)
        left_bytes -= len(message)  # over all messages
        if left_bytes < 0:
            break
        if len(message) > _MAX_START_BYTES:
            continue  # not parsed either, which would take milliseconds
        try:
            event = parse(message)
        except BadMessage:
            continue  # skipped, as in a running stream
        if isinstance(event, Start):
            return event
        if not isinstance(event, Connected):
            raise StreamRefused(
                RefusalCause.PROTOCOL, f"expected start first, got {type(event).__name__.lower()}"
            )
    raise StreamRefused(
        RefusalCause.PROTOCOL,
        f"expected a start within {MAX_MESSAGES} messages and {MAX_BYTES // 1024} kB, got none",
    )


async def _receive(websocket: WebSocket) -> str | bytes:
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        raise StreamRefused(RefusalCause.PROTOCOL, "expected a start, but the socket was closed")
    text: str | None = message.get("text")
    return text if text is not None else bytes(message.get("bytes") or b"")
