"""Closes WebSockets with a reason and within a time limit. All sockets of calls and strangers close here."""

from __future__ import annotations

import asyncio

from loguru import logger
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from moshi_phone.server.net.connections import CLOSE_TIMEOUT
from moshi_phone.server.net.websocket_protocol import connection_of

CLOSE_SECS = 1.0
_REASON_BYTES = 123  # RFC 6455, section 5.5: control frames carry 125 bytes, two of which are the code


def shortened(reason: str) -> str:
    """Shorten a reason to the 123 bytes of UTF-8 in a close frame: whole characters, with an ellipsis."""
    encoded = reason.encode(errors="replace")
    if len(encoded) <= _REASON_BYTES:
        return encoded.decode()
    return encoded[: _REASON_BYTES - len("…".encode())].decode(errors="ignore") + "…"


async def close_socket(
    websocket: WebSocket, code: int, reason: str, *, within_secs: float = CLOSE_SECS
) -> None:
    """Close a socket. Never raises; never waits for a peer that does not read.

    Args:
        websocket: accepted; either side may have closed it already.
        code: of RFC 6455, section 7.4.
        reason: one sentence of any length, shortened for the peer.
        within_secs: time for the close frame to be written; then the connection is aborted.
    """
    if websocket.application_state is not WebSocketState.CONNECTED:
        return
    try:
        async with asyncio.timeout(within_secs):
            await websocket.close(code, shortened(reason))
    except TimeoutError:
        if connection := connection_of(websocket):
            connection.cut_off(CLOSE_TIMEOUT)
        else:
            logger.warning("A socket could not be closed in {:g} s", within_secs)
    except (WebSocketDisconnect, RuntimeError) as error:
        logger.debug("The peer closed first: {}", error)
