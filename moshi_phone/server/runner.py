"""Under pipecat's own runner: what the calls of a process share, for which the runner has no place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

from fastapi import FastAPI, WebSocket
from loguru import logger

from moshi_phone.engines.choose import create_engine
from moshi_phone.engines.stop_engine import stop_engine
from moshi_phone.hooks.options import check_hooks
from moshi_phone.records.private_files import make_directories
from moshi_phone.server.calls.draining import hang_up_all
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.settings import Settings
from moshi_phone.server.startup import watching


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
                stack = AsyncExitStack()
                self._state = state = await _load(self._settings(), stack)

                async def stop() -> None:
                    self._state = None
                    await hang_up_all(state.calls, logger.info)
                    await stack.aclose()

                app = websocket.scope.get("app")
                if isinstance(app, FastAPI):
                    # The app runs already, so this list is the one way to be told of its end.
                    app.router.on_shutdown.append(stop)
            return self._state


async def _load(settings: Settings, stack: AsyncExitStack) -> ServerState:
    """Start what the settings call for; ``stack`` stops it."""
    make_directories(settings.taps)
    check_hooks(settings.hooks)
    choice = create_engine(settings.engine)
    logger.info(choice.line)
    state = ServerState.create(settings, choice)
    try:
        await stack.enter_async_context(state.background())
        stack.push_async_callback(stop_engine, choice.engine)
        await state.startup.run(choice.engine, logger.info)
        await stack.enter_async_context(watching(choice.engine))
    except BaseException:
        await stack.aclose()
        raise
    return state
