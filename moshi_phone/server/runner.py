"""Under pipecat's own runner: what the calls of a process share, for which the runner has no place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import FastAPI
from loguru import logger

from moshi_phone.engines.choose import create_engine
from moshi_phone.engines.stop_engine import stop_engine
from moshi_phone.hooks.options import check_hooks
from moshi_phone.records.private_files import make_directories
from moshi_phone.server.calls.draining import hang_up_all
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.settings import Settings
from moshi_phone.server.startup import watching

STOP_LOADING_SECS = 5.0


class RunnerState:
    """One engine for all calls of the process: loaded with the first call or before it, stopped with the app.

    Args:
        settings: says how everything is set; asked when the engine is to be loaded.
    """

    def __init__(self, settings: Callable[[], Settings]) -> None:
        self._settings = settings
        self._beginning = asyncio.Lock()  # two first calls must load one engine
        self._state: ServerState | None = None  # made with the first call, not at the import
        self._stack = AsyncExitStack()  # what the end of the process must close
        self._is_stopped_by_app = False

    async def get(self, app: object = None) -> ServerState:
        """Give what the calls share. While the engine loads, a session rings (``ServerState.loading``).

        Args:
            app: the runner's, with whose end the engine is stopped; where it is none of FastAPI's, nothing is
                stopped before the process ends.

        Raises:
            UserError: with one sentence that names the remedy; the next call tries again.
        """
        async with self._beginning:  # or two calls at once would load two engines
            if self._state is None:
                self._state = await self._begin(self._settings())
            if isinstance(app, FastAPI) and not self._is_stopped_by_app:
                # The app runs already, so this list is the one way to be told of its end.
                app.router.on_shutdown.append(self.stop)
                self._is_stopped_by_app = True
            return self._state

    def load_with(self, app: FastAPI) -> None:
        """Load the engine when an app starts that does not run yet, and stop it at its end."""
        runs_app = app.router.lifespan_context
        self._is_stopped_by_app = True

        @asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
            async with runs_app(app) as state:
                await self.get()
                try:
                    yield state
                finally:
                    await self.stop()

        app.router.lifespan_context = lifespan

    async def stop(self) -> None:
        """Hang up all calls, and stop the engine."""
        state, self._state = self._state, None
        self._is_stopped_by_app = False
        if state is None:
            return
        await hang_up_all(state.calls, logger.info)
        if state.loading is not None:
            state.loading.cancel()
            await asyncio.wait((state.loading,), timeout=STOP_LOADING_SECS)
        await self._stack.aclose()

    async def _begin(self, settings: Settings) -> ServerState:
        make_directories(settings.taps)
        check_hooks(settings.hooks)
        choice = create_engine(settings.engine)
        logger.info(choice.line)
        state = ServerState.create(settings, choice)
        self._stack = stack = AsyncExitStack()
        await stack.enter_async_context(state.background())
        stack.push_async_callback(stop_engine, choice.engine)
        state.loading = asyncio.create_task(self._load(state, stack))
        state.loading.add_done_callback(_log_failure)
        return state

    async def _load(self, state: ServerState, stack: AsyncExitStack) -> None:
        try:
            await state.startup.run(state.engine, logger.info)
            await stack.enter_async_context(watching(state.engine))
        except Exception:
            if self._state is state:  # the next call tries again
                self._state = None
            await stack.aclose()
            raise
        state.loading = None


def _log_failure(loading: asyncio.Future[None]) -> None:
    if not loading.cancelled() and (error := loading.exception()):
        logger.error("{}", error)
