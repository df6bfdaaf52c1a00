"""State of a process under pipecat's own runner, which has no place for it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

from fastapi import FastAPI
from loguru import logger
from starlette.routing import BaseRoute

from moshi_phone.access.public_address import RECORDED_PATH, TRANSFERRED_PATH
from moshi_phone.engines.choose import create_engine
from moshi_phone.engines.stop_engine import stop_engine
from moshi_phone.hooks.options import check_hooks
from moshi_phone.records.private_files import make_directories
from moshi_phone.server.calls.draining import hang_up_all
from moshi_phone.server.calls.incoming import after_message, after_transfer
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.settings import Settings
from moshi_phone.server.startup import watching
from moshi_phone.telephony import twiml
from moshi_phone.telephony.webhooks import CallAnswers, webhooks

STOP_LOADING_SECS = 5.0  # for a load in progress when the process stops


class RunnerState:
    """One engine for all calls of the process: loaded with or before the first call, stopped with the app.

    Args:
        settings: returns the settings; called when the engine is to be loaded.
    """

    def __init__(self, settings: Callable[[], Settings]) -> None:
        self._settings = settings
        self._beginning = asyncio.Lock()  # two simultaneous first calls must load one engine
        self._state: ServerState | None = None  # created with the first call, not on import
        self._stack = AsyncExitStack()  # resources to release at the end of the process
        self._is_stopped_by_app = False  # whether the app's shutdown calls stop()
        self._routes: tuple[ServerState, list[BaseRoute]] | None = None  # those for messages, in the app

    async def get(self, app: object = None) -> ServerState:
        """Return the shared state. While the engine loads, sessions ring (``ServerState.loading``).

        Args:
            app: the runner's; its shutdown stops the engine. If it is not a FastAPI app, nothing stops the
                engine before the process ends.

        Raises:
            UserError: one sentence that names the remedy; the next call tries again.
        """
        async with self._beginning:  # or two calls at once would load two engines
            if self._state is None:
                self._state = await self._begin(self._settings())
            if isinstance(app, FastAPI) and not self._is_stopped_by_app:
                # The app runs already, so this list is the only hook into its shutdown.
                app.router.on_shutdown.append(self.stop)
                self._is_stopped_by_app = True
            if isinstance(app, FastAPI) and self._state.recorded_url is not None:
                self._take_messages(app, self._state)
            return self._state

    def load_with(self, app: FastAPI) -> None:
        """Load the engine when an app that does not run yet starts, and stop it at its shutdown."""
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

    def _take_messages(self, app: FastAPI, state: ServerState) -> None:
        earlier, routes = self._routes or (None, [])
        if earlier is state:
            return
        for route in routes:  # of an engine that could not be loaded
            app.router.routes.remove(route)
        self._routes = state, message_routes(state)
        app.router.routes.extend(self._routes[1])

    async def stop(self) -> None:
        """Hang up all calls and stop the engine."""
        state, self._state = self._state, None  # first: a call that comes now starts a new engine
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


def message_routes(state: ServerState) -> list[BaseRoute]:
    """Return the routes at which Twilio reports messages and transfers; the runner answers calls itself."""

    async def unused(*_: object) -> str:  # its route is left out
        return twiml.reject("rejected")

    router = webhooks(
        replace(state.auth, address=state.webhooks),
        state.refusals,
        CallAnswers(
            incoming=unused,
            after_transfer=lambda call, status: after_transfer(call, status, state),
            after_stream=unused,
            after_message=lambda call: after_message(call, state),
            whisper=unused,
        ),
    )
    return [
        route for route in router.routes if getattr(route, "path", "") in (RECORDED_PATH, TRANSFERRED_PATH)
    ]


def runners_app() -> object:
    """Return the app of pipecat's own runner, if it runs: under ``python -m``, it is in ``__main__``."""
    modules = (sys.modules.get(name) for name in ("__main__", "pipecat.runner.run"))
    return next((app for module in modules if (app := getattr(module, "app", None))), None)


def _log_failure(loading: asyncio.Future[None]) -> None:
    if not loading.cancelled() and (error := loading.exception()):
        logger.error("{}", error)
