"""How the server is doing, for people who wait at its page."""

from __future__ import annotations

from typing import Any, Literal

from moshi_phone.server.calls.state import ServerState

State = Literal["loading", "ready", "error", "closing"]


def status(state: ServerState) -> dict[str, Any]:
    """Say in which state the server is, and who answers.

    ``progress`` is the engine's last line while the state is ``loading``, ``error`` a sentence while it is
    ``error``; otherwise they are None.
    """
    now = _state(state)
    return {
        "state": now,
        "progress": state.startup.progress if now == "loading" else None,
        "error": state.engine.error if now == "error" else None,
        "engine": state.engine.name,
        "engine_reason": state.engine_reason,
        "sessions": state.engine.running,
        "capacity": state.engine.capacity,
    }


def _state(state: ServerState) -> State:
    if state.calls.closing is not None:  # first: an engine that has been stopped is no error then
        return "closing"
    if state.engine.error is None:
        return "ready"
    # An engine that is still loading has an error, too, as it takes no calls; only later it is a defect.
    return "error" if state.startup.done else "loading"
