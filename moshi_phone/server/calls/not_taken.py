"""Refused calls: entered, and reported to ``--on-end``."""

from __future__ import annotations

from moshi_phone.records.call_row import CallRow, Outcome
from moshi_phone.server.calls.call_rows import enter_incoming, enter_no_stream
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.calls.summary import row_report
from moshi_phone.telephony.incoming_call import IncomingCall


def not_taken(
    state: ServerState,
    call: IncomingCall,
    outcome: Outcome,
    reason: str,
    *,
    section: str | None = None,
    transfer_to: str | None = None,
) -> None:
    """Enter and report a refused call; once, although Twilio repeats a request that got no answer.

    Args:
        state: shared state of the server.
        call: as announced by the webhook.
        outcome: of the call.
        reason: the same in one sentence.
        section: of ``personas.toml``.
        transfer_to: E.164 number to which it is redirected.
    """
    row = enter_incoming(state.history, call, outcome, reason, section)
    if row is not None and transfer_to is not None:
        row = state.history.update(call.call_sid, transfer_to=transfer_to)
    if row is not None:
        _report(state, row, call)


def no_stream(state: ServerState, call_sid: str, reason: str) -> None:
    """Enter and report a call that was answered but had no stream; otherwise do nothing."""
    if row := enter_no_stream(state.history, call_sid, reason):
        expected = state.expected.peek(call_sid)
        _report(state, row, expected.incoming if expected else None)


def _report(state: ServerState, row: CallRow, incoming: IncomingCall | None) -> None:
    state.reports.send(state.outbox, row_report(row, incoming))
