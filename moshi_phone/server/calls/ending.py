"""How a call ends: one owner releases all its parts, each within a time limit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any

from loguru import logger

from moshi_phone.access.redact import visible
from moshi_phone.access.refusal import INTERNAL_ERROR
from moshi_phone.engines.duplex import LAST_WORDS_SECS, DuplexSession, EngineFailed
from moshi_phone.records.call_row import CallRow
from moshi_phone.server.calls.call import Call
from moshi_phone.server.calls.call_rows import enter_end
from moshi_phone.server.calls.next_step import may_resume, offer_stream
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.calls.summary import about, as_logfmt, call_report, summary
from moshi_phone.server.net.socket_closing import CLOSE_SECS, close_socket
from moshi_phone.telephony import twiml
from moshi_phone.telephony.rest_errors import TwilioError

SESSION_SECS = 2.0
PIPELINE_SECS = 2.5
HANG_UP_SECS = 2.5  # the end waits this long for Twilio's API; retries then continue in the background
HAND_ON_SECS = 2.0  # the socket stays open this long while the caller is redirected
CONVERSATION_SECS = 1.0  # for evaluating the last half second
REPORT_SECS = 2.0  # for a slow disk

_going_on: set[asyncio.Task[None]] = set()  # strong references: asyncio holds tasks weakly


async def run_to_its_end(
    run: Coroutine[Any, Any, None],
    call: Call,
    session: DuplexSession,
    state: ServerState,
) -> None:
    """Run a call until it ends for any reason, then release all its parts.

    Args:
        run: runs the call; returns when the pipeline ends, and is cancelled when the call ends.
        call: ends on request, or when ``run`` returns. Its socket is closed here.
        session: of the call; closed here only.
        state: shared state of the server.
    """
    # A separate task: cancelling the waiter must not leave the call half released.
    life = asyncio.create_task(_live_and_end(run, call, session, state), name=f"call {call.name}")
    try:
        await asyncio.shield(life)
    except asyncio.CancelledError:
        call.request_end("the call was cancelled")
        await asyncio.shield(life)  # the release must finish even now
        raise


async def _live_and_end(
    run: Coroutine[Any, Any, None],
    call: Call,
    session: DuplexSession,
    state: ServerState,
) -> None:
    pipeline = asyncio.create_task(run, name=f"pipeline of call {call.name}")
    pipeline.add_done_callback(lambda done: call.request_end(*_why(done)))
    reason, code = await call.wait_for_end()
    # The fallback is for our own failures only.
    elsewhere = None
    if code == INTERNAL_ERROR:
        elsewhere = state.fallback(call.expected.incoming, is_runners=call.expected.is_runners)
    resumed = _decide_next(call, state, elsewhere)
    # Started first: the REST request runs alongside the release of the parts.
    phone_call = asyncio.create_task(_end_phone_call(call, state, elsewhere, resumed=resumed))

    async def farewell() -> None:
        if elsewhere:  # closing the socket ends the phone call; the redirect must come first
            await asyncio.wait((phone_call,), timeout=HAND_ON_SECS)
        if call.websocket is not None:
            await close_socket(call.websocket, code, reason)

    parts: dict[str, tuple[Awaitable[Any], float]] = {
        "session": (_close(session, pipeline), SESSION_SECS + LAST_WORDS_SECS),
        "pipeline": (asyncio.wait((pipeline,)), PIPELINE_SECS),
        "phone call": (_in_time(phone_call), HANG_UP_SECS + 1),
        # Both have their own time limits; these cover unexpected delays.
        "socket": (farewell(), HAND_ON_SECS + CLOSE_SECS + 1),
    }
    try:
        await asyncio.gather(*(_end(name, part, secs) for name, (part, secs) in parts.items()))
    finally:
        # Again: the pipeline may have been abandoned above, and must not outlive the call's row.
        pipeline.cancel()
        await _record_end(call, state, reason, code, elsewhere)


async def _record_end(call: Call, state: ServerState, reason: str, code: int, elsewhere: str | None) -> None:
    """Complete what is kept of a call: its transcript, row, report and line in the log."""
    if talk := call.observations.conversation:
        talk.close()  # a hanging pipeline has not done so
        await _end("conversation", talk.finished(), CONVERSATION_SECS)
    if call.observations.consent.since_s is None:
        call.observations.kept.clear()  # nothing was written, or it was deleted
    call.observations.transcript.conclude({"secs": f"{call.secs:.1f}", "reason": visible(reason)})
    row: CallRow | None = None
    if not state.calls.has_other(call):  # otherwise the row belongs to the other stream
        if elsewhere and (number := state.settings.calls.fallback_to):
            state.history.update(call.start.call_sid, transfer_to=number)
        row = enter_end(state.history, call, reason, code, gets_fallback=elsewhere is not None)
    known = call_report(call, reason, state.engine.name, row)
    # Before the call counts as ended: the process may exit then.
    await _end("report", state.reports.end(state.outbox, known), REPORT_SECS)
    state.calls.finish(call)
    recording = call.observations.kept.get("recording")
    if state.settings.taps.review and recording is not None:
        state.reviews.add(recording.path, {**known, **about(state.engine.name, state.settings.engine)})
    fields = summary(call, reason)
    talked = call.observations.metrics.conversation.sentence
    how = f" ({talked})" if talked else ""
    logger.bind(**fields).info("The call ended after {:.1f} s{}: {}", call.secs, how, as_logfmt(fields))


async def _close(session: DuplexSession, pipeline: asyncio.Task[None]) -> None:
    if session.listens:  # the pipeline still receives the caller's last words from it
        await asyncio.wait((pipeline,), timeout=LAST_WORDS_SECS)
    try:
        await session.close()
    except (SystemExit, KeyboardInterrupt) as error:  # in a task, these would stop the event loop
        raise EngineFailed(f"{session.display_name} did not close ({error!r})") from error


def _why(pipeline: asyncio.Task[None]) -> tuple[str, int]:
    if pipeline.cancelled():
        return "the call was cancelled", INTERNAL_ERROR
    if error := pipeline.exception():
        logger.opt(exception=error).error("The call's pipeline failed")
        return f"the pipeline failed: {type(error).__name__}", INTERNAL_ERROR
    return "the pipeline ended", 1000


def _decide_next(call: Call, state: ServerState, elsewhere: str | None) -> bool:
    """Record Twilio's next step for the phone call; return whether it gets another stream."""
    if call.broke_off and may_resume(call, state):
        if state.calls.closing:  # another process answers Twilio, or this one while it still runs
            state.next_steps.resume(call.start.call_sid, call.expected)
        else:
            offer_stream(call, state)
        return True
    if not call.handed_over and not state.calls.has_other(call):
        state.next_steps.end_with(call.start.call_sid, elsewhere or twiml.hang_up())
    return False


async def _end_phone_call(
    call: Call, state: ServerState, elsewhere: str | None, *, resumed: bool = False
) -> None:
    """Hang up the phone call by REST, or redirect it to ``elsewhere``, unless it has ended already.

    Closing the socket hangs up as well, but later: Twilio first requests ``next_step``.
    """
    if (
        resumed
        or state.rest is None
        or call.caller_hung_up
        or call.handed_over
        or state.calls.has_other(call)
    ):
        return
    try:
        if elsewhere:
            await state.rest.redirect(call.start.call_sid, elsewhere)
        else:
            await state.rest.hang_up(call.start.call_sid)
    except TwilioError as error:
        logger.error("The call could not be hung up: {}", error)


async def lead_elsewhere(call_sid: str, document: str, state: ServerState) -> None:
    """Redirect a phone call whose stream got no session, before the stream is closed.

    Args:
        call_sid: SID of the phone call.
        document: TwiML to run next.
        state: holds Twilio's API.
    """

    async def redirect() -> None:
        try:
            await (state.rest.redirect(call_sid, document) if state.rest else asyncio.sleep(0))
        except TwilioError as error:
            logger.error("The call could not be redirected: {}", error)

    leading = asyncio.create_task(redirect())
    _going_on.add(leading)
    leading.add_done_callback(_going_on.discard)
    await asyncio.wait((leading,), timeout=HAND_ON_SECS)


async def _in_time(phone_call: asyncio.Task[None]) -> None:
    """Wait for Twilio's API, but not for all retries, which continue in the background."""
    await asyncio.wait((phone_call,), timeout=HANG_UP_SECS)
    if phone_call.done():
        phone_call.result()
        return
    _going_on.add(phone_call)
    phone_call.add_done_callback(_going_on.discard)
    logger.warning("Twilio's API is slow; hanging up continues in the background")


async def _end(name: str, part: Awaitable[Any], within_secs: float) -> None:
    """Wait for one part to end, within the limit. Errors are logged and do not affect the other parts."""
    task = asyncio.ensure_future(part)
    # Not asyncio.timeout, which waits for the cancelled task: pipecat's runner can take long.
    await asyncio.wait((task,), timeout=within_secs)
    if not task.done():
        task.cancel()
        task.add_done_callback(_forget)
        logger.error("The call's {} did not stop within {:g} s; abandoned", name, within_secs)
    elif not task.cancelled() and (error := task.exception()):
        logger.opt(exception=error).error("The call's {} failed to stop", name)


def _forget(task: asyncio.Future[Any]) -> None:
    if not task.cancelled() and (error := task.exception()):
        logger.debug("An abandoned part ended with {}", repr(error))
