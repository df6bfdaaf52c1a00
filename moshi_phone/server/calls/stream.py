"""One Twilio stream: its first messages, its session, its call."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import WebSocket
from loguru import logger

from moshi_phone.access.refusal import RefusalCause, StreamRefused, Where
from moshi_phone.access.source import source_of
from moshi_phone.engines.duplex import CallOverrides, DuplexSession, EngineBusy, RequestRefused
from moshi_phone.runtime.call_log import call_context
from moshi_phone.server.calls.ending import run_to_its_end
from moshi_phone.server.calls.state import RunCall, ServerState
from moshi_phone.server.net.socket_closing import close_socket
from moshi_phone.server.net.websocket_protocol import connection_of
from moshi_phone.telephony.media_stream import Start
from moshi_phone.telephony.stream_start import read_start

_NO_SESSION = "The engine opened no session; the server's log says why."


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
    start: Start | None = None
    try:
        start = await read_start(websocket, within_secs=state.settings.server.start_secs)
        with call_context(start.call_sid):
            admit(start)
            await answer(websocket, start, state, run_call)
    except StreamRefused as refused:
        call_sid = start.call_sid if start else ""
        state.refusals.note(Where.STREAM, refused.refusal, call_sid=call_sid, peer=source_of(websocket))
        await close_socket(websocket, refused.code, refused.refusal.reason)


async def answer(websocket: WebSocket, start: Start, state: ServerState, run_call: RunCall) -> None:
    """Answer a stream whose start message has been read, and return when all of its call has ended.

    Args:
        websocket: accepted, its ``start`` message read; closed here at the end.
        start: that message.
        state: what the calls share.
        run_call: drives the call to its end.

    Raises:
        StreamRefused: when the line is closing or every session is taken.
    """
    expected = state.expected.take(start.call_sid, state.clock())
    session = _open_session(state, expected.request)
    # From here on it is no stranger's: it counts no more towards those that wait, and may stay for hours.
    if connection := connection_of(websocket):
        connection.admitted()
    call = state.calls.begin(start, session, expected)
    logger.info("The call began; {} running", len(state.calls.running))
    await run_to_its_end(run_call(websocket, call, session, state), websocket, call, session, state)


def _open_session(state: ServerState, request: CallOverrides) -> DuplexSession:
    if state.calls.closing:
        raise StreamRefused(RefusalCause.CLOSING, state.calls.closing)
    try:
        session = state.engine.open_session(request)
    except EngineBusy as busy:
        raise StreamRefused(RefusalCause.BUSY, str(busy)) from busy
    except RequestRefused as refused:
        raise StreamRefused(RefusalCause.REQUEST, str(refused)) from refused
    except Exception as error:  # a bug, ours or of an engine of the user's own
        logger.opt(exception=error).error("The engine {} opened no session", state.engine.name)
        raise StreamRefused(RefusalCause.ENGINE, _NO_SESSION) from error
    if not isinstance(session, DuplexSession):
        logger.error(
            "expected a DuplexSession from open_session of the engine {}, got {}",
            state.engine.name,
            type(session).__name__,
        )
        raise StreamRefused(RefusalCause.ENGINE, _NO_SESSION)
    return session
