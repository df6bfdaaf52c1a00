"""One Twilio stream: its first messages, its session, its call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from fastapi import WebSocket
from loguru import logger

from moshi_phone.access.refusal import RefusalCause, StreamRefused, Where
from moshi_phone.access.source import source_of
from moshi_phone.access.tokens import PARAMETER
from moshi_phone.engines.duplex import (
    BUGS,
    NO_OVERRIDES,
    CallOverrides,
    DuplexEngine,
    DuplexSession,
    EngineBusy,
    RequestRefused,
    Unsupported,
)
from moshi_phone.engines.ringing_session import RingingSession
from moshi_phone.runtime.call_log import call_context
from moshi_phone.server.calls.call import Call
from moshi_phone.server.calls.call_rows import enter_refused, enter_start, refused_as
from moshi_phone.server.calls.ending import lead_elsewhere, run_to_its_end
from moshi_phone.server.calls.pending import PendingCall
from moshi_phone.server.calls.state import RunCall, ServerState
from moshi_phone.server.calls.summary import begin_report, row_report
from moshi_phone.server.net.socket_closing import close_socket
from moshi_phone.server.net.websocket_protocol import connection_of
from moshi_phone.telephony.media_stream import Start
from moshi_phone.telephony.stream_start import read_start

_NO_SESSION = "The engine opened no session; the server's log says why."


async def handle_stream(
    websocket: WebSocket,
    state: ServerState,
    run_call: RunCall,
    admit: Callable[[Start], None],
    *,
    first: Sequence[str] = (),
) -> None:
    """Turn an accepted socket into a call, or close it with a reason.

    Args:
        websocket: accepted; only ``first`` has been read.
        state: shared state of the server.
        run_call: runs the call to its end.
        admit: raises ``StreamRefused`` for a stream without access.
        first: messages already read.
    """
    start: Start | None = None
    expected: PendingCall | None = None
    try:
        start = await read_start(websocket, within_secs=state.settings.server.start_secs, first=first)
        with call_context(start.call_sid):
            admit(start)
            expected = state.expected.pop(start.call_sid, state.clock())
            await answer(websocket, start, state, run_call, expected)
    except StreamRefused as refused:
        call_sid = start.call_sid if start else ""
        refusal = refused.refusal
        # Admitted, but without a session: it was late, or another call was faster. The redirect comes before
        # the close: closing the stream ends the phone call.
        document = None
        if expected is not None:
            document = state.fallback(expected.incoming, is_runners=expected.is_runners)
        if document and state.rest is not None:
            refusal = replace(refusal, reason=f"{refusal.reason}; the caller gets the fallback")
        state.refusals.note(Where.STREAM, refusal, call_sid=call_sid, peer=source_of(websocket))
        if expected is not None:
            outcome = refused_as(refusal.cause, gets_fallback=document is not None)
            row = enter_refused(state.history, call_sid, expected, outcome, refused.refusal.reason)
            state.reports.send(state.outbox, row_report(row, expected.incoming))
        if document and state.rest is not None:
            await lead_elsewhere(call_sid, document, state)
        await close_socket(websocket, refused.code, refused.refusal.reason)


async def answer(
    websocket: WebSocket, start: Start, state: ServerState, run_call: RunCall, expected: PendingCall
) -> None:
    """Answer a stream whose start message has been read; return when its call has ended.

    Args:
        websocket: accepted, ``start`` read; closed here at the end.
        start: that message.
        state: shared state of the server.
        run_call: runs the call to its end.
        expected: decisions made before the stream came.

    Raises:
        StreamRefused: if the server is closing or all sessions are taken.
    """
    if start.custom_parameters.get(PARAMETER):  # checked; without a token, anyone could claim any SID
        if running := state.calls.resumable(start.call_sid):
            before = running.websocket  # take_over replaces it
            if (lost_s := running.take_over(websocket, start) if running.take_over else None) is not None:
                await _go_on(running, before, lost_s, expected, state)
                return
        state.calls.replace_stream(start.call_sid)
    caller = expected.incoming.party if expected.incoming else ""
    session = _open_session(state, expected.request, expected.section, caller)
    # Admitted: it no longer counts as waiting, and may last for hours.
    if connection := connection_of(websocket):
        connection.admitted()
    call = state.calls.begin(start, session, expected)
    call.websocket = websocket
    enter_start(state.history, call, state.engine.name)
    state.reports.begin(state.on_begin, begin_report(call, state.engine.name))
    state.next_steps.forget(start.call_sid)  # the awaited stream is here
    logger.info("The call began; {} running", len(state.calls.running))
    if expected.resumes and (notice := state.settings.calls.resume_notice):
        with suppress(Unsupported):  # an engine without given text resumes silently
            call.say(notice)
    await run_to_its_end(run_call(websocket, call, session, state), call, session, state)


async def _go_on(
    call: Call, before: WebSocket | None, lost_s: float, expected: PendingCall, state: ServerState
) -> None:
    """Continue a call in the stream that has just taken it over; return when the call has ended."""
    if call.websocket and (connection := connection_of(call.websocket)):
        connection.admitted()
    call.awaits_stream = False
    call.expected = replace(call.expected, resumes=expected.resumes)
    state.next_steps.forget(call.start.call_sid)
    logger.info("The call continues in another stream; {:.1f} s were lost", lost_s)
    if before is not None:
        await close_socket(before, 1000, "a newer stream of the call took its place")
    await call.closed.wait()  # returning would close the socket


async def answer_transport(
    call_id: str,
    state: ServerState,
    run: Callable[[Call, DuplexSession, ServerState], Coroutine[Any, Any, None]],
    *,
    request: CallOverrides = NO_OVERRIDES,
    websocket: WebSocket | None = None,
) -> None:
    """Answer a call of a pipecat transport; return when it has ended.

    Args:
        call_id: names the call in the log, its files and ``/calls``.
        state: shared state of the server.
        run: runs the call to its end.
        request: engine settings of the call.
        websocket: of the transport, if any; closed here unless the transport has closed it.

    Raises:
        StreamRefused: if the server is closing or all sessions are taken.
    """
    start = Start(call_id, call_id, "", {}, {})
    session = _open_session(state, request)
    call = state.calls.begin(start, session, PendingCall(request=request))
    enter_start(state.history, call, state.engine.name)
    state.reports.begin(state.on_begin, begin_report(call, state.engine.name))
    logger.info("The call began; {} running", len(state.calls.running))
    state = replace(state, rest=None)  # not a phone call of Twilio's API
    # The transport closes its socket itself, after its serializer has hung up by the provider's API.
    await run_to_its_end(run(call, session, state), call, session, state)
    if websocket is not None:
        reason, code = await call.wait_for_end()
        await close_socket(websocket, code, reason)


def _open_session(
    state: ServerState, request: CallOverrides, section: str | None = None, caller: str = ""
) -> DuplexSession:
    # Calls with a webhook are filled already; calls of the page are not.
    filled = state.personas.filled(request, section, state.now(), caller)
    if filled.requested <= request.requested | state.engine.supported_overrides:  # none for the parrot
        request = filled
    if state.calls.closing:
        raise StreamRefused(RefusalCause.CLOSING, state.calls.closing)
    if state.loading is not None:  # pipecat's runner passes on calls while the engine loads
        listens = "listen" in state.engine.capabilities
        return RingingSession(partial(_when_loaded, state.loading, state.engine, request), listens=listens)
    try:
        session = state.engine.open_session(request)
    except EngineBusy as busy:
        raise StreamRefused(RefusalCause.BUSY, str(busy)) from busy
    except RequestRefused as refused:
        raise StreamRefused(RefusalCause.REQUEST, str(refused)) from refused
    except BUGS as error:  # ours, or from a user's own engine
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


async def _when_loaded(
    loading: asyncio.Future[None], engine: DuplexEngine, request: CallOverrides
) -> DuplexSession:
    await asyncio.shield(loading)  # shared with other calls that wait
    return engine.open_session(request)
