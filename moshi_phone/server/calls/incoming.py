"""Decides on incoming calls: access, opening hours, the hook, and a free session."""

from __future__ import annotations

from dataclasses import replace

from loguru import logger

from moshi_phone.access.redact import redact
from moshi_phone.access.refusal import Refusal, RefusalCause, Where
from moshi_phone.access.refusals import Refusals
from moshi_phone.access.tokens import PARAMETER, PERSONA_PARAMETER, VOICE_PARAMETER
from moshi_phone.engines.duplex import NO_OVERRIDES, CallOverrides
from moshi_phone.hooks.on_call import Instead
from moshi_phone.records.call_row import Outcome
from moshi_phone.server.calls.admission import reserve
from moshi_phone.server.calls.answering import connect, request_of
from moshi_phone.server.calls.call_rows import enter_incoming, enter_transfer, refused_as
from moshi_phone.server.calls.closed import answer_closed
from moshi_phone.server.calls.instead import NOT_ACCEPTED, give_instead
from moshi_phone.server.calls.next_step import next_step
from moshi_phone.server.calls.not_taken import not_taken
from moshi_phone.server.calls.state import ServerState
from moshi_phone.telephony import twiml
from moshi_phone.telephony.incoming_call import IncomingCall
from moshi_phone.telephony.media_stream import Start
from moshi_phone.telephony.webhooks import CONVERSED


async def answer_call(call: IncomingCall, state: ServerState) -> str:
    """Return the TwiML that answers a call."""
    if running := state.calls.resumable(call.call_sid):  # requested at the number's fallback URL, or a replay
        return await next_step(call, running.expected.resumes, 0, state)
    return await _answer_new(call, state)


async def _answer_new(call: IncomingCall, state: ServerState) -> str:
    """Return the TwiML for a call that has no stream here yet.

    A session is reserved before the hook is called, so that an accepted call has one.
    """
    sid, caller = call.call_sid, redact(call.from_)
    # Before the reservation: refused callers must not block sessions by trying.
    if refusal := state.caller_rules.refusal(call.from_, sid, state.clock()):
        state.refusals.note(Where.WEBHOOK, refusal, call_sid=sid, peer=caller)
        not_taken(state, call, refused_as(refusal.cause), refusal.reason)
        return twiml.reject("rejected")
    closed = answer_closed(call, state)
    if isinstance(closed, str):
        return closed
    # Before the hook, which may take two seconds: two callers must not get the same session.
    if refusal := reserve(state, sid):
        return refuse_call(refusal, caller, call, state)
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


async def after_transfer(call: IncomingCall, how: str, state: ServerState) -> str:
    """Return the TwiML after a transfer: hang up, or connect the caller again if nobody answered.

    Args:
        call: as announced by the webhook.
        how: Twilio's ``DialCallStatus``: ``completed``, ``answered``, ``busy``, ``no-answer``, ``failed``, ….
        state: shared state of the server.
    """
    note_transfer(call, how, state)
    if document := instead_of_return(how, state):
        return document
    logger.info("The call returned from a transfer (dial status: {})", redact(how))
    if refusal := reserve(state, call.call_sid):
        return refuse_call(refusal, "a transfer", call, state)
    return connect(call.call_sid, state)


def note_transfer(call: IncomingCall, how: str, state: ServerState) -> bool:
    """Enter and report the result of a transfer; return whether the call's row is here."""
    row = enter_transfer(state.history, call.call_sid, how, call.parameters.get("DialCallDuration", ""))
    state.reports.transferred(state.outbox, call.call_sid, row)
    return row is not None


def instead_of_return(how: str, state: ServerState) -> str | None:
    """Return the TwiML for a call that does not return to the bot after a transfer; None if it returns."""
    if how in CONVERSED:
        return twiml.hang_up()
    if (url := state.recorded_url) is not None:  # nobody answered: the caller can leave a message at once
        options = state.settings.calls
        return twiml.record(options.message_say, options.message_secs, url)
    return None


def refuse_call(refusal: Refusal, caller: str, call: IncomingCall, state: ServerState) -> str:
    """Enter and refuse a call for which there is no session; return its TwiML."""
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
    """Refuse a call for which there is no session; return the TwiML of the fallback or the busy tone.

    Args:
        refusal: why.
        call_sid: SID of the call.
        caller: the caller, for the log.
        refusals: counts and logs it.
        document: TwiML of the fallback; None without one.
    """
    outcome = "the caller gets the fallback" if document else "the caller gets the busy tone"
    said = replace(refusal, reason=f"{refusal.reason}; {outcome}")
    refusals.note(Where.WEBHOOK, said, call_sid=call_sid, peer=caller)
    return document or twiml.reject("busy")


def expect_overrides(start: Start, state: ServerState) -> None:
    """Store the persona and voice in a stream's parameters, which its token authenticates.

    Another process of ours that dials a call for this server sets them. Without a token they are ignored.
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
    """Store the message that a caller has left, and end the call."""
    take_message(call, state)
    return twiml.hang_up()


def take_message(call: IncomingCall, state: ServerState, *, is_known: bool = False) -> bool:
    """Store the message that a caller has left; return whether it is stored here.

    Args:
        call: its parameters name the recording.
        state: shared state of the server.
        is_known: whether to take messages only of calls that have a row here.
    """
    if state.messages is None or (is_known and state.history.find(call.call_sid) is None):
        return False
    state.messages.take(call)
    return True
