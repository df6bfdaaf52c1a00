"""``GET /healthz``, and the status shown on the page."""

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
    """Build ``GET /healthz``, which needs no credentials.

    Args:
        calls: source of the calls.
        is_public: returns whether strangers can reach the server.
    """
    router = APIRouter()

    @router.get(HEALTH_PATH)
    async def answer() -> JSONResponse:
        """Report whether the next call would be answered: 200 or 503."""
        report = await calls.health(is_public=is_public())  # asked each time: a tunnel may open later
        return JSONResponse(report, status_code=200 if report["ready"] else 503)

    return router


def health(state: ServerState, *, is_public: bool = False) -> dict[str, Any]:
    """Return the health of the server, for ``/healthz``."""
    engine = state.engine
    error = _published_error(state)
    report: dict[str, Any] = {
        "ready": error is None,
        "error": error,
        "engine": engine.name,
        # Sorted: sets have no order, and equal states should give equal answers.
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
        # On a public server, machine names are replaced by numbers.
        report["servers"] = [
            _published(server, f"server {number}" if is_public else server.name)
            for number, server in enumerate(engine.servers, 1)
        ]
    return report


def _published(server: ServerStatus, name: str) -> dict[str, Any]:
    """Return a server's state. The reason for a failure is in the log only."""
    return {
        "name": name,
        "kind": server.kind,
        "up": server.error is None,
        "calls": server.calls,
        "capacity": server.capacity,
    }


def _published_error(state: ServerState) -> str | None:
    """Return why no call is accepted. Exception texts are in the log only."""
    return ENGINE_ERROR if state.engine.error else state.calls.closing or overload_of(state)


State = Literal["loading", "ready", "error", "closing"]


def status(state: ServerState) -> dict[str, Any]:
    """Return the server's state and engine.

    ``progress`` is the engine's last line while the state is ``loading``. ``error`` is a sentence while it is
    ``error``. Otherwise they are None.
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
    if state.calls.closing is not None:  # before the engine: a stopped engine is no error while closing
        return "closing"
    if state.engine.error is None:
        return "ready"
    # An engine has an error while it loads, too; only after the start is it a defect.
    return "error" if state.startup.done else "loading"
