"""What becomes of a call that comes in: who may call, what the hook says, whether a session is free."""

from __future__ import annotations

from dataclasses import replace

from loguru import logger

from moshi_phone.access.public_address import STATUS_PATH, STREAM_PATH
from moshi_phone.access.redact import redact
from moshi_phone.access.tokens import PARAMETER, PERSONA_PARAMETER, VOICE_PARAMETER
from moshi_phone.engines.duplex import NO_REQUEST, CallRequest, RequestRefused
from moshi_phone.hooks import on_call
from moshi_phone.hooks.http import HookFailed
from moshi_phone.hooks.on_call import HookAnswer
from moshi_phone.server.calls.engine_health import reserve
from moshi_phone.server.calls.options import fallback
from moshi_phone.server.calls.pending import ExpectedCall
from moshi_phone.server.calls.state import ServerState
from moshi_phone.telephony import twiml
from moshi_phone.telephony.media_stream import Start
from moshi_phone.telephony.webhooks import CONVERSED, IncomingCall


async def answer_call(call: IncomingCall, state: ServerState) -> str:
    """Say what to do with a call, as TwiML.

    While the hook is asked, a session is held: whoever is accepted has one.
    """
    sid, caller = call.call_sid, redact(call.from_)
    # Before anything is held: who may not call must not keep the line busy by trying.
    if refusal := state.caller_rules.refusal(call.from_, sid, state.clock()):
        logger.warning("Call {} from {} is refused: {}", sid[:10], caller, refusal)
        return twiml.reject("rejected")
    # Before the hook is asked: a second caller in those two seconds must not be promised the same session.
    if error := reserve(state, sid):
        return _busy(call.call_sid, caller, error, state)
    answer = await _ask(call, state)
    if not answer.accept:
        state.reservations.keep(sid)
        logger.info("Call {} from {} is refused by --on-call", sid[:10], caller)
        return twiml.reject("rejected")
    request = answer.request if answer.request.wishes else _by_number(call, state)
    state.expected.add(sid, ExpectedCall(call, request, answer.transfer_to), state.clock())
    logger.info("Call {} from {} is connected", sid[:10], caller)
    return connect(sid, state)


async def after_transfer(call_sid: str, how: str, state: ServerState) -> str:
    """Say what to do with a call that was put through: it is over, or nobody came and it is ours again.

    Args:
        call_sid: names it.
        how: Twilio's ``DialCallStatus``: ``completed``, ``answered``, ``busy``, ``no-answer``, ``failed``, ….
        state: what the calls share.
    """
    if how in CONVERSED:
        return twiml.hang_up()
    logger.info("Call {} comes back: the other phone was {}", call_sid[:10], redact(how))
    if error := reserve(state, call_sid):
        return _busy(call_sid, "who was put through", error, state)
    return connect(call_sid, state)


def _busy(call_sid: str, caller: str, error: str, state: ServerState) -> str:
    state.calls.turned_away += 1
    document = fallback(state.call_options)
    what = "goes where --fallback says" if document else "gets the busy tone"
    logger.warning("Call {} from {} {}: {}", call_sid[:10], caller, what, error)
    return document or twiml.reject("busy")


async def _ask(call: IncomingCall, state: ServerState) -> HookAnswer:
    """Ask the hook, where there is one; what goes wrong is decided by ``--on-call-failure``."""
    if state.on_call is None:
        return HookAnswer()
    try:
        answer = await on_call.ask(state.on_call, call)
        if not (answer.accept and answer.request.wishes):
            return answer
        request = answer.request.or_else(state.personas.for_call(called=call.to, caller=call.from_))
        state.engine.prepare(request)
        return replace(answer, request=request)
    except (HookFailed, RequestRefused) as failure:
        accept = state.hooks.on_call_failure == "accept"
        logger.error(
            "--on-call about call {}: {}; the call is {}",
            call.call_sid[:10],
            failure,
            "taken as it is" if accept else "refused",
        )
        return HookAnswer(accept=accept)


def _by_number(call: IncomingCall, state: ServerState) -> CallRequest:
    """Give what ``--personas`` says of who is called or who calls, and have it made ready meanwhile."""
    request = state.personas.for_call(called=call.to, caller=call.from_)
    try:
        state.engine.prepare(request)
    except RequestRefused as refusal:
        logger.warning("Call {} is answered as any other: {}", call.call_sid[:10], refusal)
        return NO_REQUEST
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
    request = CallRequest(voice=voice or None)
    if persona:
        request = request.or_else(state.personas.chosen(persona))
    state.expected.add(start.call_sid, ExpectedCall(request=request), state.clock())


def connect(call_sid: str, state: ServerState) -> str:
    """Give the TwiML that connects a call, for which a session is held, with our stream."""
    stream_url = state.auth.address.wss(STREAM_PATH)
    assert stream_url is not None  # noqa: S101 - the webhook looked before it asked
    reserve(state, call_sid)  # anew: the hook may have taken most of the time that it was held for
    return twiml.connect_stream(stream_url, state.mint(call_sid), state.webhooks.https(STATUS_PATH))
