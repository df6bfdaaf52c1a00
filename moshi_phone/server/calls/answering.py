"""How a call is answered: its engine settings, and the TwiML that connects it to a stream."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from loguru import logger

from moshi_phone.access.public_address import STATUS_PATH, STREAM_PATH
from moshi_phone.access.refusal import Refusal, RefusalCause
from moshi_phone.engines.duplex import NO_OVERRIDES, CallOverrides, RequestRefused
from moshi_phone.hooks import on_call
from moshi_phone.hooks.http import HookFailed
from moshi_phone.hooks.on_call import HookAnswer, Instead
from moshi_phone.runtime.call_log import call_context
from moshi_phone.server.calls.admission import reserve
from moshi_phone.server.calls.consent import notice_by_twilio
from moshi_phone.server.calls.instead import NOT_ACCEPTED
from moshi_phone.server.calls.not_taken import no_stream
from moshi_phone.server.calls.pending import HOLD_SECS, PendingCall
from moshi_phone.server.calls.state import ServerState
from moshi_phone.telephony import twiml
from moshi_phone.telephony.incoming_call import IncomingCall

STREAM_SECS = 10.0
"""Upper end of the time that Twilio takes from our answer to the stream; later, the log warns."""


async def request_of(
    call: IncomingCall, state: ServerState, closed: CallOverrides = NO_OVERRIDES
) -> PendingCall | Refusal | Instead:
    """Choose how to answer a call: by the ``--on-call`` hook, else by ``--personas``.

    Args:
        call: as announced by the webhook.
        state: shared state of the server.
        closed: engine settings of a closed line.
    """
    answer = await _ask(call, state)
    if isinstance(answer, Refusal):
        return answer
    if answer.instead is not None:
        return answer.instead
    # the hook's settings replace those of --personas as a whole
    request = answer.request if answer.request.requested else _by_number(call, state, closed)
    section = state.personas.name_for_call(called=call.to, caller=call.from_)
    return PendingCall(call, request, answer.transfer_to, section=section)


def _warn_without_stream(call_sid: str, state: ServerState) -> None:
    """Warn of a call without a stream: its caller hears nothing."""
    if state.reservations.is_made(call_sid):  # released by the stream or by Twilio's report of the call's end
        with call_context(call_sid):
            logger.warning(
                "The call was answered {:g} s ago, and no audio has come: is the Twilio account a trial "
                "(uv run bot.py doctor), does the proxy pass on WebSockets, and does {} lead here?",
                STREAM_SECS,
                state.auth.address.wss(STREAM_PATH),
            )
        why = f"no audio came within {HOLD_SECS:g} s"
        asyncio.get_running_loop().call_later(HOLD_SECS - STREAM_SECS, no_stream, state, call_sid, why)


def connect(
    call_sid: str,
    state: ServerState,
    resumes: int = 0,
    *,
    has_session: bool = False,
    notice: str | None = None,
) -> str:
    """Return the TwiML that connects a call to our stream.

    Args:
        call_sid: SID of the call.
        state: shared state of the server.
        resumes: number of earlier streams of this call that broke off.
        has_session: whether its session is waiting for the stream; otherwise one is reserved.
        notice: said first, by Twilio's voice; by default ``--record-notice``, if the bot cannot say it.
    """
    stream_url = state.auth.address.wss(STREAM_PATH)
    assert stream_url is not None  # noqa: S101 - checked by the webhook
    if not has_session:
        reserve(state, call_sid)  # renewed: the hook may have taken most of the reservation's time
    asyncio.get_running_loop().call_later(STREAM_SECS, _warn_without_stream, call_sid, state)
    next_url = state.webhooks.https(twiml.next_path(resumes, question=twiml.new_question()))
    status_url = state.webhooks.https(STATUS_PATH)
    notice = notice or notice_by_twilio(state, call_sid)
    return twiml.connect_stream(
        stream_url, state.mint(call_sid), status_url, next_url=next_url, notice=notice
    )


async def _ask(call: IncomingCall, state: ServerState) -> HookAnswer | Refusal:
    """Call the hook, if there is one; ``--on-call-failure`` decides on errors."""
    if state.on_call is None:
        return HookAnswer()
    try:
        answer = await on_call.ask(state.on_call, call)
        if not answer.accept and answer.instead is None:
            return Refusal(RefusalCause.HOOK, NOT_ACCEPTED)
        if not answer.request.requested:
            return answer
        request = _filled(answer.request.or_else(_for_call(call, state)), call, state)
        state.engine.prepare(request)  # raises if the engine cannot apply it; otherwise preparation starts
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
    """Return the settings of ``--personas`` for this call's numbers, and start preparing them."""
    request = _filled(closed.or_else(_for_call(call, state)), call, state)
    try:
        state.engine.prepare(request)
    except RequestRefused as refusal:
        logger.warning("The call is answered without its persona: {}", refusal)
        return NO_OVERRIDES
    return request
