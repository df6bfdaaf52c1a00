"""``--record-notice``, ``--record-optout-key``: callers are informed first, and may refuse."""

from __future__ import annotations

import asyncio

from loguru import logger

from moshi_phone.engines.duplex import Unsupported
from moshi_phone.records.consent import REFUSED, TOLD, Consent
from moshi_phone.records.options import TapOptions
from moshi_phone.server.calls.call import Call, CallClosed
from moshi_phone.server.calls.state import ServerState

NOTICE_SECS = 20.0  # what saying the notice may take, and each of its words beside
WORD_SECS = 1.0


def keeps_calls(options: TapOptions) -> bool:
    """Tell whether anything of what is said in calls is kept."""
    return options.record is not None or options.transcripts is not None


def what_is_kept(options: TapOptions) -> str | None:
    """Say in a sentence what is kept of calls, and whether callers are told; None where nothing is."""
    ways = (("recorded", options.record), ("transcribed", options.transcripts))
    kept = " and ".join(f"{how} into {folder}" for how, folder in ways if folder is not None)
    if not kept:
        return None
    told = (
        "callers are told first"
        if options.record_notice
        else "callers are not told: --record-notice tells them"
    )
    return f"Calls are {kept}; {told}."


def notice_by_twilio(state: ServerState, call_sid: str) -> str | None:
    """Give the notice that Twilio's voice says before the stream, once a call; None where the bot says it.

    Args:
        state: what the calls share.
        call_sid: names a call whose stream is to come.
    """
    options = state.settings.taps
    if not options.record_notice or not keeps_calls(options) or "say" in state.engine.capabilities:
        return None
    expected = state.expected.peek(call_sid)
    if expected is None or expected.is_told:
        return None
    state.expected.mark_told(call_sid)
    return options.record_notice


def begin_consent(call: Call, state: ServerState) -> Consent:
    """Give what may be kept of a call at its begin."""
    options = state.settings.taps
    if not keeps_calls(options):
        return Consent()
    sid = call.start.call_sid
    known = state.history.find(sid) if call.expected.incoming else None
    consent = Consent()
    if known is not None and known.consent == REFUSED:  # in an earlier stream of the same call
        consent.refuse()
    elif call.expected.is_told:
        consent.told(0.0)
    elif options.record_notice:
        consent = Consent.awaited()
    state.history.update(sid, consent=consent.state)
    return consent


async def tell(call: Call, state: ServerState, consent: Consent) -> None:
    """Have the bot say the notice; where it is not heard, nothing is kept of the call.

    Args:
        call: has just begun.
        state: what the calls share.
        consent: awaits the notice.
    """
    notice, session = state.settings.taps.record_notice, call.session
    if not notice or session is None or consent.since_s is not None or consent.state is not None:
        return
    try:
        call.say(notice)
        async with asyncio.timeout(NOTICE_SECS + WORD_SECS * len(notice.split())):
            await session.said()
            await call.until_played()
    except (Unsupported, CallClosed, ValueError, TimeoutError) as error:
        why = str(error) or "it took too long"
        logger.warning("The caller was not told of the recording, so nothing is kept of the call: {}", why)
        return
    consent.told(call.secs)
    call.expected = call.expected.as_told()
    if consent.state == TOLD:
        state.history.update(call.start.call_sid, consent=TOLD)


def refuse(call: Call, state: ServerState, why: str) -> None:
    """Keep nothing of a call any more, and delete what was kept. Returns at once.

    Args:
        call: it runs.
        state: what the calls share.
        why: a sentence for the log.
    """
    logger.info("Nothing is kept of the call: {}", why)
    seen = call.observations
    seen.consent.refuse()
    for file in seen.kept.values():
        file.discard()
    seen.kept.clear()
    seen.transcript.discard()
    state.history.update(call.start.call_sid, consent=REFUSED)
