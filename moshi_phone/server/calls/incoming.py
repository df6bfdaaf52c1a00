"""What becomes of a call that comes in: who may call, what the hook says, whether a session is free."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from loguru import logger

from moshi_phone.access.public_address import STATUS_PATH, STREAM_PATH
from moshi_phone.access.redact import redact
from moshi_phone.access.refusal import Refusal, RefusalCause, Where
from moshi_phone.access.refusals import Refusals
from moshi_phone.access.tokens import PARAMETER, PERSONA_PARAMETER, VOICE_PARAMETER
from moshi_phone.engines.duplex import NO_OVERRIDES, CallOverrides, RequestRefused
from moshi_phone.hooks import on_call
from moshi_phone.hooks.http import HookFailed
from moshi_phone.hooks.on_call import HookAnswer, Instead
from moshi_phone.records.call_row import Outcome
from moshi_phone.runtime.call_log import call_context
from moshi_phone.server.calls.call_rows import enter_incoming, enter_transfer, refused_as
from moshi_phone.server.calls.closed import answer_closed
from moshi_phone.server.calls.consent import notice_by_twilio
from moshi_phone.server.calls.engine_health import reserve
from moshi_phone.server.calls.instead import NOT_ACCEPTED, give_instead
from moshi_phone.server.calls.next_step import next_step
from moshi_phone.server.calls.not_taken import no_stream, not_taken
from moshi_phone.server.calls.pending import HOLD_SECS, PendingCall
from moshi_phone.server.calls.state import ServerState
from moshi_phone.telephony import twiml
from moshi_phone.telephony.media_stream import Start
from moshi_phone.telephony.webhooks import CONVERSED, IncomingCall

STREAM_SECS = 10.0
"""As long as Twilio may take from our answer to the stream, before the log warns."""


async def answer_call(call: IncomingCall, state: ServerState) -> str:
    """Say what to do with a call, as TwiML."""
    if running := state.calls.resumable(call.call_sid):  # asked at the number's fallback URL, or by a replay
        return await next_step(call, running.expected.resumes, 0, state)
    return await _answer_new(call, state)


async def _answer_new(call: IncomingCall, state: ServerState) -> str:
    """Say what to do with a call that is not here yet.

    While the hook is asked, a session is held: whoever is accepted has one.
    """
    sid, caller = call.call_sid, redact(call.from_)
    # Before anything is held: who may not call must not keep the line busy by trying.
    if refusal := state.caller_rules.refusal(call.from_, sid, state.clock()):
        state.refusals.note(Where.WEBHOOK, refusal, call_sid=sid, peer=caller)
        not_taken(state, call, refused_as(refusal.cause), refusal.reason)
        return twiml.reject("rejected")
    closed = answer_closed(call, state)
    if isinstance(closed, str):
        return closed
    # Before the hook is asked: a second caller in those two seconds must not be promised the same session.
    if refusal := reserve(state, sid):
        return _refuse(refusal, caller, call, state)
    expected = await request_of(call, state, closed or NO_OVERRIDES)
    if isinstance(expected, Instead):
        state.reservations.release(sid)
        state.refusals.note(
            Where.WEBHOOK, Refusal(RefusalCause.HOOK, NOT_ACCEPTED), call_sid=sid, peer=caller
        )
        return give_instead(call, expected, state)
    if isinstance(expected, Refusal):
        state.reservations.release(sid)
        state.refusals.note(Where.WEBHOOK, expected, call_sid=sid, peer=caller)
        not_taken(state, call, refused_as(expected.cause), expected.reason)
        return twiml.reject("rejected")
    state.next_steps.forget(sid)
    state.expected.add(sid, expected, state.clock())
    enter_incoming(state.history, call, Outcome.CONNECTING, section=expected.section)
    logger.info("The call from {} is answered", caller)
    return connect(sid, state)


async def request_of(
    call: IncomingCall, state: ServerState, closed: CallOverrides = NO_OVERRIDES
) -> PendingCall | Refusal | Instead:
    """Decide how a call is answered: as the hook says, or else ``--personas``.

    Args:
        call: as the webhook announces it.
        state: what the calls share.
        closed: what it asks of the engine as its line is closed.
    """
    answer = await _ask(call, state)
    if isinstance(answer, Refusal):
        return answer
    if answer.instead is not None:
        return answer.instead
    request = answer.request if answer.request.requested else _by_number(call, state, closed)
    section = state.personas.name_for_call(called=call.to, caller=call.from_)
    return PendingCall(call, request, answer.transfer_to, section=section)


async def after_transfer(call: IncomingCall, how: str, state: ServerState) -> str:
    """Say what to do with a transferred call: it is over, or nobody answered and it is ours again.

    Args:
        call: as the webhook announces it.
        how: Twilio's ``DialCallStatus``: ``completed``, ``answered``, ``busy``, ``no-answer``, ``failed``, ….
        state: what the calls share.
    """
    row = enter_transfer(state.history, call.call_sid, how, call.parameters.get("DialCallDuration", ""))
    state.reports.transferred(state.outbox, call.call_sid, row)
    if how in CONVERSED:
        return twiml.hang_up()
    if (url := state.recorded_url) is not None:  # nobody came to the phone, and nobody is kept waiting
        options = state.settings.calls
        return twiml.record(options.message_say, options.message_secs, url)
    logger.info("The call returned from a transfer (dial status: {})", redact(how))
    if refusal := reserve(state, call.call_sid):
        return _refuse(refusal, "a transfer", call, state)
    return connect(call.call_sid, state)


def _refuse(refusal: Refusal, caller: str, call: IncomingCall, state: ServerState) -> str:
    """Refuse a call that finds no session here, and enter it."""
    document = state.fallback(call)
    outcome = refused_as(refusal.cause, gets_fallback=document is not None)
    number = state.settings.calls.fallback_to if document else None
    not_taken(state, call, outcome, refusal.reason, transfer_to=number)
    return refuse(refusal, call.call_sid, caller, state.refusals, document)


def refuse(
    refusal: Refusal,
    call_sid: str,
    caller: str,
    refusals: Refusals,
    document: str | None,
) -> str:
    """Refuse a call that finds no session; gives the TwiML of the fallback, or of the busy tone.

    Args:
        refusal: why.
        call_sid: names the call.
        caller: who calls, for the log.
        refusals: counts and logs it.
        document: the TwiML of the fallback; None where there is none.
    """
    outcome = "the caller gets the fallback" if document else "the caller gets the busy tone"
    said = replace(refusal, reason=f"{refusal.reason}; {outcome}")
    refusals.note(Where.WEBHOOK, said, call_sid=call_sid, peer=caller)
    return document or twiml.reject("busy")


async def _ask(call: IncomingCall, state: ServerState) -> HookAnswer | Refusal:
    """Ask the hook, where there is one; what goes wrong is decided by ``--on-call-failure``."""
    if state.on_call is None:
        return HookAnswer()
    try:
        answer = await on_call.ask(state.on_call, call)
        if not answer.accept and answer.instead is None:
            return Refusal(RefusalCause.HOOK, NOT_ACCEPTED)
        if not answer.request.requested:
            return answer
        request = _filled(answer.request.or_else(_for_call(call, state)), call, state)
        state.engine.prepare(request)
        return replace(answer, request=request)
    except (HookFailed, RequestRefused) as failure:
        if state.settings.hooks.on_call_failure == "reject":
            return Refusal(RefusalCause.HOOK_FAILED, f"--on-call failed: {failure}")
        logger.error("--on-call failed: {}; the call is accepted unchanged", failure)
        return HookAnswer()


def _for_call(call: IncomingCall, state: ServerState) -> CallOverrides:
    return state.personas.for_call(called=call.to, caller=call.from_)


def _filled(request: CallOverrides, call: IncomingCall, state: ServerState) -> CallOverrides:
    section = state.personas.name_for_call(called=call.to, caller=call.from_)
    return state.personas.filled(request, section, state.now(), call.party)


def _by_number(call: IncomingCall, state: ServerState, closed: CallOverrides) -> CallOverrides:
    """Give what ``--personas`` says of who is called or who calls, and have it made ready meanwhile."""
    request = _filled(closed.or_else(_for_call(call, state)), call, state)
    try:
        state.engine.prepare(request)
    except RequestRefused as refusal:
        logger.warning("The call is answered without its persona: {}", refusal)
        return NO_OVERRIDES
    return request


def expect_wishes(start: Start, state: ServerState) -> None:
    """Take note of the persona and the voice that a stream brings, which its token vouches for.

    A call that was dialled for this server by another process of ours brings them; a stream that needed no
    token may ask for nothing.
    """
    parameters = start.custom_parameters
    persona, voice = parameters.get(PERSONA_PARAMETER), parameters.get(VOICE_PARAMETER)
    if not (persona or voice) or not parameters.get(PARAMETER):
        return
    request = CallOverrides(voice=voice or None)
    section = persona if persona in state.personas.sections else None
    if persona:
        request = request.or_else(state.personas.select(persona))
    known = state.expected.pop(start.call_sid, state.clock())
    state.expected.add(start.call_sid, replace(known, request=request, section=section), state.clock())


async def after_message(call: IncomingCall, state: ServerState) -> str:
    """Take the message that a caller has left, and end the call."""
    if state.messages is not None:
        state.messages.take(call)
    return twiml.hang_up()


def _warn_without_stream(call_sid: str, state: ServerState) -> None:
    """Warn of a call whose audio has not come: its caller hears nothing of us."""
    if state.reservations.is_made(call_sid):
        with call_context(call_sid):
            logger.warning(
                "The call was answered {:g} s ago, and no audio has come: is the Twilio account a trial "
                "(uv run bot.py doctor), does the proxy pass on WebSockets, and does {} lead here?",
                STREAM_SECS,
                state.auth.address.wss(STREAM_PATH),
            )
        why = f"no audio came within {HOLD_SECS:g} s"
        asyncio.get_running_loop().call_later(HOLD_SECS - STREAM_SECS, no_stream, state, call_sid, why)


def connect(call_sid: str, state: ServerState, resumes: int = 0, *, has_session: bool = False) -> str:
    """Give the TwiML that connects a call with our stream.

    Args:
        call_sid: names the call.
        state: what the calls share.
        resumes: how many streams of it broke off before this one.
        has_session: whether its session waits for the stream; else one is held for it.
    """
    stream_url = state.auth.address.wss(STREAM_PATH)
    assert stream_url is not None  # noqa: S101 - the webhook looked before it asked
    if not has_session:
        reserve(state, call_sid)  # again: the hook may have taken most of the time that it was held for
    asyncio.get_running_loop().call_later(STREAM_SECS, _warn_without_stream, call_sid, state)
    next_url = state.webhooks.https(twiml.next_path(resumes, question=twiml.new_question()))
    status_url = state.webhooks.https(STATUS_PATH)
    notice = notice_by_twilio(state, call_sid)
    return twiml.connect_stream(
        stream_url, state.mint(call_sid), status_url, next_url=next_url, notice=notice
    )
