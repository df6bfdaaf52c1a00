"""``GET /healthz``, and the status of this server."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from moshi_phone.access.public_address import HEALTH_PATH
from moshi_phone.server.calls.admission import overload_of
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.web.calls_source import CallsSource
from moshi_phone.server.web.server_status import LoadStatus, Phase, ServerStatus

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
        status = await calls.status()
        # is_public is asked each time: a tunnel may open later
        return JSONResponse(status.health(is_public=is_public()), status_code=200 if status.ready else 503)

    return router


def status_of(state: ServerState) -> ServerStatus:
    """Return the status of this server. Changes nothing and logs nothing."""
    engine, phase = state.engine, _phase(state)
    error = engine.error
    refusal = ENGINE_ERROR if error else state.calls.closing or overload_of(state)
    reserved = state.reservations.count(state.clock(), besides="")
    return ServerStatus(
        phase=phase,
        engine=engine.name,
        engine_reason=state.engine_reason,
        refusal=refusal,
        failure=(state.startup.failure or error) if phase is Phase.ERROR else None,
        progress=state.startup.progress if phase is Phase.LOADING else None,
        # Sorted: sets have no order, and equal states should give equal answers.
        capabilities=sorted(engine.capabilities),
        supported_overrides=sorted(engine.supported_overrides),
        capacity=engine.capacity,
        sessions=engine.running,
        reserved=reserved,
        free=0 if refusal else max(0, engine.capacity - engine.running - reserved),
        calls=len(state.calls.running),
        served=state.calls.served,
        lost=engine.lost_calls,
        load=LoadStatus(
            lag_ms=1000 * state.load.lag_s,
            deadline_misses=state.load.misses,
            overloaded=overload_of(state) is not None,
        ),
        refused=state.refusals.by_cause,
        backends=tuple(engine.servers),
        has_history=True,
    )


def _phase(state: ServerState) -> Phase:
    if state.startup.failure is not None:
        return Phase.ERROR
    if state.calls.closing is not None:  # before the engine: a stopped engine is no error while closing
        return Phase.CLOSING
    if state.engine.error is None:
        return Phase.READY
    # An engine has an error while it loads, too; only after the start is it a defect.
    return Phase.ERROR if state.startup.done else Phase.LOADING
