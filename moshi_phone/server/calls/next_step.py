"""The next step of a phone call after its stream; requested by the ``<Redirect>`` after ``<Connect>``.

A stream that breaks off (a restarted proxy or tunnel, a killed process) is not a hang-up: Twilio still holds
the call, which gets a new stream. The session waits for that stream for ``--resume-secs``.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from loguru import logger

from moshi_phone.access.public_address import PublicAddress
from moshi_phone.access.refusal import Refusal, Where
from moshi_phone.hooks.on_call import Instead
from moshi_phone.server.calls.admission import reserve
from moshi_phone.server.calls.answering import connect, request_of
from moshi_phone.server.calls.call import Call, CallState
from moshi_phone.server.calls.options import CallOptions
from moshi_phone.server.calls.pending import PendingCall
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.net.websocket_protocol import connection_of
from moshi_phone.telephony import twiml
from moshi_phone.telephony.incoming_call import IncomingCall
from moshi_phone.telephony.rest_errors import TwilioError

ASK_SECS = 2.0  # if Twilio has not asked by then, the call is redirected by REST
HOLD_STEP_SECS = 2  # each round of music on hold
SAYING_SECS = 15.0  # for the next stream, if Twilio says a sentence before it
TOO_SOON_SECS = 1  # pause before an early question is repeated

BROKEN_OFF = frozenset((1001, 1005, 1006, 1011, 1012, 1013, 1014))
"""Close codes after which the phone call continues: lost, or closed by a proxy (RFC 6455, 7.4.1)."""

_asking: set[asyncio.Task[None]] = set()  # strong references: asyncio holds tasks weakly


async def next_step(call: IncomingCall, resumes: int, held_secs: int, state: ServerState) -> str:
    """Return the TwiML for a call whose stream has ended.

    Args:
        call: as announced by the webhook.
        resumes: number of earlier streams that broke off.
        held_secs: how long the caller has been on hold.
        state: shared state of the server.
    """
    sid, options = call.call_sid, state.settings.calls
    step, running = state.next_steps.peek(sid), state.calls.resumable(sid)
    if isinstance(step, str):  # decided when the stream ended
        return step
    elsewhere = state.fallback(call) or twiml.hang_up()
    if resumes >= options.resumes:
        logger.warning("The stream was interrupted {} times; not resumed again", resumes + 1)
        state.next_steps.end_with(sid, elsewhere)  # the same answer to a repeated request
        if running is not None:
            running.handed_over = True  # the TwiML ends the phone call; our side need not
            running.request_end("its stream broke off too often")
        return elsewhere
    if running is not None and running.is_heard():
        # A stream that Twilio has ended delivers nothing more: this request is early, or a replay.
        url = state.webhooks.https(twiml.next_path(resumes, question=twiml.new_question()))
        return twiml.hold(None, TOO_SOON_SECS, url) if url else elsewhere
    # A call with a session here keeps it, even before its socket is known to be dead.
    if running is None and (refusal := reserve(state, sid)):
        document = hold(resumes, held_secs, options, state.webhooks)
        if document is None:
            state.refusals.note(Where.WEBHOOK, refusal, call_sid=sid, peer="a broken stream")
        return document or elsewhere
    expected = running.expected if running else step
    if expected is None:  # another process had the call: answered as a new call with the same SID
        answer = await request_of(call, state)
        if isinstance(answer, Refusal | Instead):
            state.reservations.release(sid)
            return twiml.hang_up()
        expected = answer
    logger.info("Resuming the call in a new stream")
    state.expected.add(sid, replace(expected, resumes=resumes + 1), state.clock())
    return connect(sid, state, resumes + 1, has_session=running is not None)


def hold(resumes: int, held_secs: int, options: CallOptions, webhooks: PublicAddress) -> str | None:
    """Return TwiML that holds a caller until a session is free; None after ``--hold-secs``.

    Args:
        resumes: number of earlier streams that broke off.
        held_secs: how long the caller has been on hold.
        options: maximum time on hold.
        webhooks: base URL at which Twilio asks again.
    """
    url = webhooks.https(twiml.next_path(resumes, held_secs + HOLD_STEP_SECS))
    if held_secs >= options.hold_secs or url is None:
        return None
    return twiml.hold(options.hold_say if held_secs == 0 else None, HOLD_STEP_SECS, url)


def may_resume(call: Call, state: ServerState) -> bool:
    """Return whether the phone call can get another stream if this one breaks off."""
    return (
        call.expected.incoming is not None
        and not call.caller_hung_up
        and not call.handed_over
        and state.webhooks.base is not None
    )


def phone_calls(state: ServerState) -> dict[str, int]:
    """Return the phone calls that are here, or whose streams have not started.

    Returns:
        Number of streams that broke off, by SID.
    """
    expected = state.expected.all()
    coming = {sid: one.resumes for sid, one in expected.items() if state.reservations.is_made(sid)}
    running = (call for call in state.calls.running if may_resume(call, state))
    return coming | {call.start.call_sid: call.expected.resumes for call in running}


def wait_secs(call: Call, state: ServerState, code: int) -> float:
    """Return how long a session waits for another stream, in seconds, and request that stream.

    Args:
        call: its stream has ended without a ``stop`` from Twilio.
        state: shared state of the server.
        code: close code of the stream's socket.
    """
    if call.awaits_stream and call.state is CallState.ACTIVE:
        return SAYING_SECS
    options = state.settings.calls
    connection = connection_of(call.websocket) if call.websocket else None
    if (
        not options.resume_secs
        or code not in BROKEN_OFF
        or (connection is not None and connection.is_shut_down)
        or call.state is not CallState.ACTIVE
        or not may_resume(call, state)
        or call.expected.resumes >= options.resumes
    ):
        return 0.0
    logger.info("The stream broke off ({}); its session waits for {:g} s", code, options.resume_secs)
    offer_stream(call, state)
    return options.resume_secs


def offer_stream(call: Call, state: ServerState) -> None:
    """Offer another stream to a phone call whose stream broke off: Twilio asks, or is redirected by REST."""
    incoming = call.expected.incoming
    assert incoming is not None  # noqa: S101 - checked by may_resume
    state.next_steps.resume(incoming.call_sid, call.expected)
    asking = asyncio.create_task(ask_unasked(incoming, call.expected.resumes, state))
    _asking.add(asking)
    asking.add_done_callback(_asking.discard)


def note_hung_up(call_sid: str, state: ServerState) -> None:
    """Stop waiting for an ended phone call: for its stream and for Twilio's request."""
    state.reservations.release(call_sid)
    was_awaited = isinstance(state.next_steps.peek(call_sid), PendingCall)
    state.next_steps.forget(call_sid)
    if call := state.calls.resumable(call_sid):
        call.caller_hung_up = True  # set even if the report comes before the end of the stream
        if was_awaited:
            call.stream_ended("the caller hung up")


async def ask_unasked(call: IncomingCall, resumes: int, state: ServerState) -> None:
    """Redirect a call whose stream broke off by REST, if Twilio has not asked by itself.

    Twilio may take a dead socket for alive for a while, and cannot ask at the URL of a closed tunnel.
    """
    await asyncio.sleep(ASK_SECS)
    pending = isinstance(state.next_steps.peek(call.call_sid), PendingCall)
    if not pending or state.rest is None or state.expected.has(call.call_sid, state.clock()):
        return
    await _tell(call, resumes, state)  # Twilio has not asked by itself


async def bring_along(state: ServerState) -> None:
    """Redirect the calls whose streams broke off at an earlier public URL to the current one."""
    for expected in state.next_steps.broken_off():
        if expected.incoming is not None and state.rest is not None:
            await _tell(expected.incoming, expected.resumes, state)


async def _tell(call: IncomingCall, resumes: int, state: ServerState) -> None:
    document = await next_step(call, resumes, 0, state)
    assert state.rest is not None  # noqa: S101 - checked by the caller
    try:
        await state.rest.redirect(call.call_sid, document)
    except TwilioError as error:  # usually because the caller has hung up
        logger.info("The call cannot be resumed: {}", error)
        note_hung_up(call.call_sid, state)
