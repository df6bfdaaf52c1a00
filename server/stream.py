"""One Media Stream, from its accepted socket to the end of its call."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from fastapi import WebSocket, WebSocketDisconnect
from loguru import logger

from access.refusal import TRY_AGAIN_LATER, StreamRefused
from engines.duplex import DuplexSession, EngineBusy
from server.call_log import last_words
from server.state import RunCall, ServerState
from server.stream_start import read_start
from telephony.media_stream import Start


async def handle_stream(
    websocket: WebSocket, state: ServerState, run_call: RunCall, admit: Callable[[Start], None]
) -> None:
    """Make an accepted socket a call, or close it with a reason.

    Args:
        websocket: accepted, nothing read yet.
        state: what the calls share.
        run_call: drives the call to its end.
        admit: raises ``StreamRefused`` for whom it does not let in.
    """
    try:
        start = await read_start(websocket, within_secs=state.options.start_secs)
        admit(start)
        await answer(websocket, start, state, run_call)
    except StreamRefused as refusal:
        state.calls.refused[refusal.cause] += 1
        logger.warning("Refused a stream: {}", refusal)
        with suppress(WebSocketDisconnect):  # the other side may have been quicker
            await websocket.close(refusal.code, refusal.reason)


async def answer(websocket: WebSocket, start: Start, state: ServerState, run_call: RunCall) -> None:
    """Answer a stream whose start message has been read.

    Raises:
        StreamRefused: when the line is closing or every session is taken.
    """
    session = _open_session(state)
    call = state.calls.begin(start, session)
    logger.info("Call {} began; {} running", call.name, len(state.calls.running))
    try:
        await run_call(websocket, call, session, state)
    finally:
        call.end("the call was broken off")
        await session.close()
        state.calls.finish(call)
        reason, _ = await call.ended()
        logger.info("Call {} ended after {:.1f} s: {}", call.name, call.secs, last_words(call, reason))


def _open_session(state: ServerState) -> DuplexSession:
    if state.calls.closing:
        raise StreamRefused("closing", TRY_AGAIN_LATER, state.calls.closing)
    try:
        return state.engine.open_session()
    except EngineBusy as busy:
        raise StreamRefused("busy", TRY_AGAIN_LATER, str(busy)) from busy
