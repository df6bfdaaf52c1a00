"""Admission control: whether a call can be taken, and the reservation of its session."""

from __future__ import annotations

from moshi_phone.access.refusal import Refusal, RefusalCause
from moshi_phone.server.calls.state import ServerState


def overload_of(state: ServerState) -> str | None:
    """Return why another call would overload the server, in one sentence; None if it would not."""
    # without calls, a high load has another cause, and refusing would not help
    return state.load.reason if state.calls.running else None


def reserve(state: ServerState, call_sid: str) -> Refusal | None:
    """Reserve a session for a call about to be connected, or return why there is none."""
    engine, now_s = state.engine, state.clock()
    if closing := state.calls.closing:
        return Refusal(RefusalCause.CLOSING, closing)
    if error := engine.error:
        return Refusal(RefusalCause.ENGINE, error)
    # Two webhooks within a second must not both get the last session.
    if engine.running + state.reservations.count(now_s, besides=call_sid) >= engine.capacity:
        taken = (
            "the only session is taken"
            if engine.capacity == 1
            else f"all {engine.capacity} sessions are taken"
        )
        return Refusal(RefusalCause.BUSY, taken)
    if overload := overload_of(state):
        return Refusal(RefusalCause.OVERLOAD, overload)
    state.reservations.make(call_sid, now_s)
    return None
