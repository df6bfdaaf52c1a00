"""Writes the state of each call into its row, from its webhook to its end."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from moshi_phone.access.refusal import INTERNAL_ERROR, RefusalCause
from moshi_phone.records.call_history import CallHistory
from moshi_phone.records.call_row import OPEN, CallRow, Outcome, utc_text
from moshi_phone.server.calls.call import HANDED_OVER, Call
from moshi_phone.server.calls.pending import PendingCall
from moshi_phone.telephony.incoming_call import IncomingCall

BROWSER, STREAM = "browser", "stream"
"""Directions of calls without a webhook of ours: calls of the page, and all others."""

_BY_CAUSE = {
    RefusalCause.DENIED: Outcome.DENIED,
    RefusalCause.RATE: Outcome.REFUSED,
    RefusalCause.HOOK: Outcome.REFUSED,
    RefusalCause.HOOK_FAILED: Outcome.REFUSED,
    RefusalCause.REQUEST: Outcome.FAILED,
    RefusalCause.ENGINE: Outcome.FAILED,
}


def refused_as(cause: RefusalCause, *, gets_fallback: bool = False) -> Outcome:
    """Return the outcome of a refused call.

    Args:
        cause: why it was refused.
        gets_fallback: whether the server has a fallback for calls without a session.
    """
    outcome = _BY_CAUSE.get(cause, Outcome.BUSY)
    return Outcome.FALLBACK if gets_fallback and outcome in (Outcome.BUSY, Outcome.FAILED) else outcome


def enter_incoming(
    history: CallHistory, call: IncomingCall, outcome: Outcome, reason: str = "", section: str | None = None
) -> CallRow | None:
    """Enter a call announced by a webhook.

    Args:
        history: rows of calls.
        call: as announced by the webhook.
        outcome: the call's state so far.
        reason: the same in one sentence.
        section: of ``personas.toml``.

    Returns:
        Its row; None if it is entered already: Twilio repeats a request that got no answer.
    """
    is_over = outcome not in OPEN
    ended_at = _now() if is_over else None
    known = history.find(call.call_sid)
    if known is None:
        return history.add(
            CallRow(
                call_sid=call.call_sid,
                from_number=call.from_,
                to_number=call.to,
                direction=call.direction,
                section=section,
                outcome=outcome,
                reason=reason,
                ended_at=ended_at,
            )
        )
    if known.outcome is outcome and known.reason == reason:
        return None
    return history.update(
        call.call_sid, outcome=outcome, reason=reason, ended_at=ended_at, section=section or known.section
    )


def enter_start(history: CallHistory, call: Call, engine: str) -> CallRow:
    """Enter that a call's stream has started. A returning call continues its row."""
    sid, expected = call.start.call_sid, call.expected
    goes_on = expected.incoming is not None and history.find(sid) is not None
    if goes_on and (
        row := history.update(sid, outcome=Outcome.RUNNING, reason="", ended_at=None, engine=engine)
    ):
        return row
    return history.add(_row_of(expected, sid, utc_text(call.began), Outcome.RUNNING, engine))


def enter_refused(
    history: CallHistory, sid: str, expected: PendingCall, outcome: Outcome, reason: str
) -> CallRow:
    """Enter an admitted stream that got no session."""
    known = history.find(sid) if expected.incoming else None
    if known and (row := history.update(sid, outcome=outcome, reason=reason, ended_at=_now())):
        return row
    row = _row_of(expected, sid, _now(), outcome, "", reason=reason, ended_at=_now())
    return history.add(row)


def enter_end(
    history: CallHistory, call: Call, reason: str, code: int, *, gets_fallback: bool = False
) -> CallRow | None:
    """Enter that a call's stream has ended.

    Args:
        history: rows of calls.
        call: the ended call.
        reason: why it ended.
        code: close code of its socket.
        gets_fallback: whether it is redirected to the fallback.
    """
    sid = call.start.call_sid
    known = history.find(sid)
    if known is None:
        return None
    files = {
        name: str(file.path.resolve()) for name, file in call.observations.kept.items() if not file.is_lost
    }
    return history.update(
        sid,
        outcome=_outcome(call, code, gets_fallback=gets_fallback),
        reason=reason,
        ended_at=_now(),
        secs=round(known.secs + call.secs, 1),  # a call may have several streams
        metrics=call.observations.metrics.summary(),
        files=_merged(known.files, files),
    )


def enter_transfer(history: CallHistory, call_sid: str, how: str, secs: str = "") -> CallRow | None:
    """Enter the result of a transfer.

    Args:
        history: rows of calls.
        call_sid: SID of the call.
        how: Twilio's ``DialCallStatus``.
        secs: Twilio's ``DialCallDuration``.
    """
    talked_s = float(secs) if secs.isascii() and secs.isdigit() else None
    # `how` comes from outside
    return history.update(call_sid, transfer_outcome=how[:20], transfer_secs=talked_s, ended_at=_now())


def enter_no_stream(history: CallHistory, call_sid: str, reason: str) -> CallRow | None:
    """Enter that a connected call had no stream; return None if the call is in another state."""
    known = history.find(call_sid)
    if known is None or known.outcome is not Outcome.CONNECTING:
        return None
    return history.update(call_sid, outcome=Outcome.NO_STREAM, reason=reason, ended_at=_now())


def _outcome(call: Call, code: int, *, gets_fallback: bool) -> Outcome:
    if gets_fallback:
        return Outcome.FALLBACK
    if call.handed_over and call.end_reason == HANDED_OVER:  # not if a newer stream of the call replaced it
        return Outcome.TRANSFERRED
    return Outcome.FAILED if code == INTERNAL_ERROR else Outcome.ANSWERED


def _row_of(
    expected: PendingCall,
    sid: str,
    began_at: str,
    outcome: Outcome,
    engine: str,
    *,
    reason: str = "",
    ended_at: str | None = None,
) -> CallRow:
    incoming = expected.incoming
    return CallRow(
        call_sid=sid,
        began_at=began_at,
        ended_at=ended_at,
        from_number=incoming.from_ if incoming else "",
        to_number=incoming.to if incoming else "",
        direction=incoming.direction if incoming else BROWSER if expected.is_browser else STREAM,
        section=expected.section,
        engine=engine,
        outcome=outcome,
        reason=reason,
    )


def _merged(known: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    """Add the files of a further stream, numbered where names collide."""
    merged = dict(known)
    for name, path in new.items():
        if path not in merged.values():
            number = sum(Path(one).suffix == Path(path).suffix for one in merged.values()) + 1
            merged[name if name not in merged else f"{name}-{number}"] = path
    return merged


def _now() -> str:
    return utc_text(datetime.now(UTC))
