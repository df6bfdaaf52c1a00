"""Whether the engine takes a call, and a session held for one that is about to be connected."""

from __future__ import annotations

from moshi_phone.access.refusal import Refusal, RefusalCause
from moshi_phone.server.calls.state import ServerState


def overload_of(state: ServerState) -> str | None:
    """Say in one sentence why one more call would harm those that run; None where it would not."""
    return state.load.reason if state.calls.running else None


def reserve(state: ServerState, call_sid: str) -> Refusal | None:
    """Hold a session for a call that is about to be connected, or say why there is none."""
    engine, now_s = state.engine, state.clock()
    if closing := state.calls.closing:
        return Refusal(RefusalCause.CLOSING, closing)
    if error := engine.error:
        return Refusal(RefusalCause.ENGINE, error)
    # Two webhooks within a second must not both be promised the last session.
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
