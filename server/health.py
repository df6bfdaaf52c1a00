"""Whether the next call would be answered."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from access.public_address import HEALTH_PATH
from engines.duplex import ServerStatus
from runtime.version import VERSION
from server.state import ServerState

ENGINE_ERROR = "The engine cannot take a call now; the server's log says why."


def reserve(state: ServerState, call_sid: str) -> str | None:
    """Hold a session for a call that is about to be connected, or say in one sentence why there is none."""
    engine, now_s = state.engine, state.clock()
    if error := state.calls.closing or _engine_error(state):
        return error
    # Two webhooks within a second must not both be promised the last session.
    if engine.running + state.reservations.count(now_s, besides=call_sid) >= engine.capacity:
        return (
            "the only session is taken"
            if engine.capacity == 1
            else f"all {engine.capacity} sessions are taken"
        )
    state.reservations.make(call_sid, now_s)
    return None


def healthz(state: ServerState) -> APIRouter:
    """Make ``GET /healthz``, which everybody may ask."""
    router = APIRouter()

    @router.get(HEALTH_PATH)
    def answer() -> JSONResponse:
        """Whether the next call would be answered."""
        report = health(state)
        return JSONResponse(report, status_code=200 if report["ready"] else 503)

    return router


def health(state: ServerState) -> dict[str, Any]:
    """Say how the line is doing, for ``/healthz``."""
    engine = state.engine
    error = _published_error(state)
    report: dict[str, Any] = {
        "ready": error is None,
        "error": error,
        "engine": engine.name,
        "can": sorted(engine.abilities),
        "takes": sorted(engine.takes),  # what a call may ask for: persona, voice, …
        "capacity": engine.capacity,
        "sessions": engine.running,
        "calls": len(state.calls.running),
        "served": state.calls.served,
        "lost": engine.lost_calls,
        "refused": dict(state.calls.refused),
        "version": VERSION,
    }
    if engine.servers:
        # Whoever asks a public line need not learn what the machines behind it are called.
        public = state.is_public()
        report["servers"] = [
            _published(server, f"server {number}" if public else server.name)
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
    return ENGINE_ERROR if _engine_error(state) else state.calls.closing


def _engine_error(state: ServerState) -> str | None:
    error = state.engine.error
    state.engine_log.note(error)
    return error
