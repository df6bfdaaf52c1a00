"""Under pipecat's own runner: what the calls of a process share, for which the runner has no place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fastapi import FastAPI, WebSocket
from loguru import logger

from moshi_phone.engines.choose import create_engine
from moshi_phone.records.private_files import make_directories
from moshi_phone.server.calls.draining import hang_up_all
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.settings import Settings


class RunnerState:
    """One engine for all calls of the process: loaded with the first, and stopped when the app ends.

    Args:
        settings: says how everything is set; asked with the first call.
    """

    def __init__(self, settings: Callable[[], Settings]) -> None:
        self._settings = settings
        self._loading = asyncio.Lock()
        self._state: ServerState | None = None

    async def get(self, websocket: WebSocket) -> ServerState:
        """Give what the calls share; who calls while the engine loads waits for that one.

        Args:
            websocket: of the call; its app is the one with whose end the engine is stopped.

        Raises:
            EngineUnavailable: with one sentence that names the remedy; the next call tries again.
        """
        async with self._loading:  # or two calls at once would load two engines
            if self._state is None:
                self._state = state = await _load(self._settings())

                async def stop() -> None:
                    self._state = None
                    await hang_up_all(state.calls, logger.info)
                    await state.engine.stop()

                app = websocket.scope.get("app")
                if isinstance(app, FastAPI):
                    # The app runs already, so this list is the one way to be told of its end.
                    app.router.on_shutdown.append(stop)
            return self._state


async def _load(settings: Settings) -> ServerState:
    make_directories(settings.taps)
    choice = create_engine(settings.engine)
    logger.info(choice.line)
    state = ServerState(
        choice.engine,
        settings.server,
        settings.rest_api_if_set(),
        taps=settings.taps,
        call_options=settings.calls,
        engine_reason=choice.reason,
        hang_secs=settings.engine.hang_secs,
        personas=choice.personas,
    )
    try:
        await state.startup.run(choice.engine, logger.info)
    except BaseException:
        await choice.engine.stop()
        raise
    return state
