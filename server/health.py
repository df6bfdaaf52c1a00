"""Whether the next call would be answered."""

from __future__ import annotations

from typing import Any

from runtime.version import VERSION
from server.state import ServerState


def reserve(state: ServerState, call_sid: str) -> str | None:
    """Hold a session for a call that is about to be put through, or say in one sentence why there is none."""
    engine, now_secs = state.engine, state.auth.clock()
    if error := state.calls.closing or engine.error:
        return error
    if engine.running + state.reservations.count(now_secs, besides=call_sid) >= engine.capacity:
        return (
            "the only session is taken"
            if engine.capacity == 1
            else f"all {engine.capacity} sessions are taken"
        )
    state.reservations.make(call_sid, now_secs)
    return None


def health(state: ServerState) -> dict[str, Any]:
    """Say how the line is doing, for ``/healthz``."""
    engine, error = state.engine, state.engine.error or state.calls.closing
    return {
        "ready": error is None,
        "error": error,
        "engine": engine.name,
        "can": sorted(engine.abilities),
        "capacity": engine.capacity,
        "sessions": engine.running,
        "calls": len(state.calls.running),
        "served": state.calls.served,
        "lost": engine.lost_calls,
        "refused": dict(state.calls.refused),
        "version": VERSION,
    }
