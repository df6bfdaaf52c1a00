"""``--record-notice``, ``--record-optout-key``: callers are informed first, and may refuse."""

from __future__ import annotations

import asyncio

from loguru import logger

from moshi_phone.engines.duplex import Unsupported
from moshi_phone.records.consent import REFUSED, TOLD, Consent
from moshi_phone.records.options import TapOptions
from moshi_phone.server.calls.call import Call, CallClosed
from moshi_phone.server.calls.state import ServerState

NOTICE_SECS = 20.0  # maximum time for the notice, plus WORD_SECS for each word
WORD_SECS = 1.0


def keeps_calls(options: TapOptions) -> bool:
    """Return whether calls are recorded or transcribed."""
    return options.record is not None or options.transcripts is not None


def what_is_kept(options: TapOptions) -> str | None:
    """Return one sentence on what is stored of calls and whether callers are informed; None for nothing."""
    ways = (("recorded", options.record), ("transcribed", options.transcripts))
    kept = " and ".join(f"{how} into {folder}" for how, folder in ways if folder is not None)
    if not kept:
        return None
    notice = (
        "callers are informed first"
        if options.record_notice
        else "callers are not informed: --record-notice informs them"
    )
    return f"Calls are {kept}; {notice}."


def notice_by_twilio(state: ServerState, call_sid: str) -> str | None:
    """Return the notice for Twilio's voice before the stream, once a call; None if the bot says it.

    Args:
        state: shared state of the server.
        call_sid: SID of a call whose stream has not started.
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
    """Return the initial consent of a call: what may be stored."""
    options = state.settings.taps
    if not keeps_calls(options):
        return Consent()
    sid = call.start.call_sid
    known = state.history.find(sid) if call.expected.incoming else None
    consent = Consent()
    if known is not None and known.consent == REFUSED:  # in an earlier stream of this call
        consent.refuse()
    elif call.expected.is_told:
        consent.told(0.0)
    elif options.record_notice:
        consent = Consent.awaited()
    state.history.update(sid, consent=consent.state)
    return consent


async def tell(call: Call, state: ServerState, consent: Consent) -> None:
    """Have the bot say the notice. If the caller does not hear it, nothing of the call is stored.

    Args:
        call: has just begun.
        state: shared state of the server.
        consent: waits for the notice.
    """
    notice, session = state.settings.taps.record_notice, call.session
    if not notice or session is None or consent.since_s is not None or consent.state is not None:
        return
    try:
        call.say(notice)
        async with asyncio.timeout(NOTICE_SECS + WORD_SECS * len(notice.split())):
            await session.said()
            await call.until_played()  # spoken words are not heard yet: Twilio buffers audio
    except (Unsupported, CallClosed, ValueError, TimeoutError) as error:
        why = str(error) or "it took too long"
        logger.warning("The caller could not be informed, so the call is not recorded: {}", why)
        return
    consent.told(call.secs)
    call.expected = call.expected.as_told()
    if consent.state == TOLD:  # stored for a later stream of the same call
        state.history.update(call.start.call_sid, consent=TOLD)


def refuse(call: Call, state: ServerState, why: str) -> None:
    """Stop storing a call, and delete what was stored. Returns at once.

    Args:
        call: a running call.
        state: shared state of the server.
        why: one sentence for the log.
    """
    logger.info("The call is not recorded: {}", why)
    seen = call.observations
    seen.consent.refuse()
    for file in seen.kept.values():
        file.discard()
    seen.kept.clear()
    seen.transcript.discard()
    state.history.update(call.start.call_sid, consent=REFUSED)
