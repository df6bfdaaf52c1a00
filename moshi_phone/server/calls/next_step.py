"""What a phone call does when its stream is over: Twilio asks, by the ``<Redirect>`` behind ``<Connect>``.

A stream that broke off (a proxy or a tunnel that restarts, a process that was killed) is no hang-up: the
caller is still on the line at Twilio, and gets a new stream.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from loguru import logger

from moshi_phone.access.refusal import Refusal, Where
from moshi_phone.server.calls.pending import PendingCall
from moshi_phone.server.calls.state import ServerState
from moshi_phone.telephony import twiml
from moshi_phone.telephony.rest_errors import TwilioError
from moshi_phone.telephony.webhooks import IncomingCall

ASK_SECS = 2.0  # after so long without Twilio's question, a call whose stream broke off is told by REST
HOLD_STEP_SECS = 2


async def next_step(call: IncomingCall, resumes: int, held_secs: int, state: ServerState) -> str:
    """Say, as TwiML, what a call does whose stream is over.

    Args:
        call: as the webhook announces it.
        resumes: how many streams of it broke off before this one.
        held_secs: for how long it has been on hold.
        state: what the calls share.
    """
    from moshi_phone.server.calls.engine_health import reserve  # noqa: PLC0415 - circles
    from moshi_phone.server.calls.incoming import connect, request_of  # noqa: PLC0415

    sid, options = call.call_sid, state.settings.calls
    step = state.next_steps.peek(sid)
    if isinstance(step, str):
        return step
    elsewhere = state.fallback(call) or twiml.hang_up()
    if resumes >= options.resumes:
        logger.warning("The stream broke off {} times; the call is given up", resumes + 1)
        return elsewhere
    if refusal := reserve(state, sid):
        if held_secs < options.hold_secs and state.webhooks.base is not None:
            url = state.webhooks.https(twiml.next_path(resumes, held_secs + HOLD_STEP_SECS))
            return twiml.hold(options.hold_say if held_secs == 0 else None, HOLD_STEP_SECS, url or "")
        state.refusals.note(Where.WEBHOOK, refusal, call_sid=sid, peer="a broken stream")
        return elsewhere
    expected = step
    if expected is None:  # another process held it: answered anew, as the same call
        answer = await request_of(call, state)
        if isinstance(answer, Refusal):
            state.reservations.keep(sid)
            return twiml.hang_up()
        expected = answer
    logger.info("The call gets another stream")
    state.expected.add(sid, replace(expected, resumes=resumes + 1), state.clock())
    return connect(sid, state, resumes + 1)


async def ask_unasked(call: IncomingCall, resumes: int, state: ServerState) -> None:
    """Tell a call whose stream broke off by REST what to do, where Twilio does not ask.

    It believes in a dead socket for a while; and a URL that is gone with its tunnel cannot be asked.
    """
    await asyncio.sleep(ASK_SECS)
    pending = isinstance(state.next_steps.peek(call.call_sid), PendingCall)
    if not pending or state.rest is None or state.expected.has(call.call_sid, state.clock()):
        return
    await _tell(call, resumes, state)


async def bring_along(state: ServerState) -> None:
    """Tell the calls whose streams broke off with an earlier public URL where they go on."""
    for expected in state.next_steps.broken_off():
        if expected.incoming is not None and state.rest is not None:
            await _tell(expected.incoming, expected.resumes, state)


async def _tell(call: IncomingCall, resumes: int, state: ServerState) -> None:
    document = await next_step(call, resumes, 0, state)
    assert state.rest is not None  # noqa: S101 - the caller looked
    try:
        await state.rest.redirect(call.call_sid, document)
    except TwilioError as error:  # mostly: the caller has hung up meanwhile
        logger.info("The call cannot be taken up again: {}", error)
        state.next_steps.forget(call.call_sid)
        state.reservations.keep(call.call_sid)
