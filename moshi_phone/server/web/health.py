"""``GET /healthz``, and the status that the page shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from moshi_phone.access.public_address import HEALTH_PATH
from moshi_phone.engines.duplex import ServerStatus
from moshi_phone.runtime.version import VERSION
from moshi_phone.server.calls.engine_health import overload_of
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.web.calls_source import CallsSource

ENGINE_ERROR = "The engine cannot take a call now; the server's log says why."


def health_router(calls: CallsSource, is_public: Callable[[], bool]) -> APIRouter:
    """Make ``GET /healthz``, which everybody may ask.

    Args:
        calls: those that there are.
        is_public: tells whether strangers may ask.
    """
    router = APIRouter()

    @router.get(HEALTH_PATH)
    async def answer() -> JSONResponse:
        """Whether the next call would be answered."""
        report = await calls.health(is_public=is_public())
        return JSONResponse(report, status_code=200 if report["ready"] else 503)

    return router


def health(state: ServerState, *, is_public: bool = False) -> dict[str, Any]:
    """Say how the line is doing, for ``/healthz``."""
    engine = state.engine
    error = _published_error(state)
    report: dict[str, Any] = {
        "ready": error is None,
        "error": error,
        "engine": engine.name,
        # Sorted: sets have no order, and two answers should compare equal.
        "capabilities": sorted(engine.capabilities),
        "supported_overrides": sorted(
            engine.supported_overrides
        ),  # what a call may ask for: persona, voice, …
        "capacity": engine.capacity,
        "sessions": engine.running,
        "calls": len(state.calls.running),
        "served": state.calls.served,
        "lost": engine.lost_calls,
        "load": {
            "lag_ms": round(1000 * state.load.lag_s, 1),
            "deadline_misses": round(state.load.misses, 3),
            "overloaded": overload_of(state) is not None,
        },
        "refused": state.refusals.by_cause,
        "version": VERSION,
    }
    if engine.servers:
        # Whoever asks a public line need not learn what the machines behind it are called.
        report["servers"] = [
            _published(server, f"server {number}" if is_public else server.name)
            for number, server in enumerate(engine.servers, 1)
        ]
    return report


def _published(server: ServerStatus, name: str) -> dict[str, Any]:
    """Say how a server is; why it is out is in the log."""
    return {
        "name": name,
        "kind": server.kind,
        "up": server.error is None,
        "calls": server.calls,
        "capacity": server.capacity,
    }


def _published_error(state: ServerState) -> str | None:
    """Say why no call is taken, to everybody: what an exception said is in the log and nowhere else."""
    return ENGINE_ERROR if state.engine.error else state.calls.closing or overload_of(state)


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
        "error": (state.startup.failure or state.engine.error) if now == "error" else None,
        "engine": state.engine.name,
        "engine_reason": state.engine_reason,
        "sessions": state.engine.running,
        "capacity": state.engine.capacity,
    }


def _state(state: ServerState) -> State:
    if state.startup.failure is not None:
        return "error"
    if state.calls.closing is not None:  # first: an engine that has been stopped is no error then
        return "closing"
    if state.engine.error is None:
        return "ready"
    # An engine that is still loading has an error, too, as it takes no calls; only later it is a defect.
    return "error" if state.startup.done else "loading"
