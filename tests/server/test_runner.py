"""server/runner.py: one engine for all, loaded once, tried again after a failure, stopped with the app."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from fastapi import FastAPI, WebSocket

from moshi_phone.commands.options import from_environment
from moshi_phone.engines.choose import EngineChoice
from moshi_phone.engines.duplex import EngineUnavailable, Progress
from moshi_phone.engines.options import EngineOptions
from moshi_phone.server import runner
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.runner import RunnerState
from moshi_phone.server.settings import Settings
from tests.fakes.hook import hook, says
from tests.support.fake_engines import FakeEngine


class LoadingEngine(FakeEngine):
    """Is loaded when the test says so, or fails then."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded = asyncio.Event()
        self.failure: Exception | None = None
        self.stops = 0

    async def start(self, progress: Progress) -> None:
        await self.loaded.wait()
        if self.failure:
            raise self.failure
        await super().start(progress)

    async def stop(self) -> None:
        self.stops += 1
        await super().stop()


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[LoadingEngine]:
    """The engines that were made."""
    made: list[LoadingEngine] = []

    def choose(_: EngineOptions) -> EngineChoice:
        made.append(LoadingEngine())
        return EngineChoice(made[-1], "as asked")

    monkeypatch.setattr(runner, "create_engine", choose)
    return made


def websocket(app: object) -> WebSocket:
    async def nothing(*_: object) -> dict[str, object]:
        return {}

    return WebSocket({"type": "websocket", "app": app}, nothing, nothing)  # type: ignore[arg-type]


def state() -> RunnerState:
    return RunnerState(Settings)


async def both(shared: RunnerState, app: FastAPI) -> list[ServerState | BaseException]:
    gets = (shared.get(websocket(app)) for _ in range(2))
    return await asyncio.gather(*gets, return_exceptions=True)


async def test_two_calls_at_once_load_one_engine(engines: list[LoadingEngine]) -> None:
    app = FastAPI()
    getting = asyncio.ensure_future(both(state(), app))
    for _ in range(3):  # so many turns of the loop until the second one waits
        await asyncio.sleep(0)
    engines[0].loaded.set()
    first, second = await getting
    assert first is second
    assert len(engines) == 1
    for stop in app.router.on_shutdown:
        await stop()
    assert (len(app.router.on_shutdown), engines[0].stops) == (1, 1)


async def test_an_engine_that_fails_is_stopped_and_the_next_call_tries_again(
    engines: list[LoadingEngine],
) -> None:
    shared, app = state(), FastAPI()
    getting = asyncio.ensure_future(shared.get(websocket(app)))
    await asyncio.sleep(0)
    engines[0].failure = EngineUnavailable("No weights.")
    engines[0].loaded.set()
    with pytest.raises(EngineUnavailable, match="No weights"):
        await getting
    assert engines[0].stops == 1
    again = asyncio.ensure_future(shared.get(websocket(app)))
    await asyncio.sleep(0)
    engines[1].loaded.set()
    assert (await again).engine is engines[1]


async def test_an_app_of_another_kind_will_do(engines: list[LoadingEngine]) -> None:
    getting = asyncio.ensure_future(state().get(websocket(None)))
    await asyncio.sleep(0)
    engines[0].loaded.set()
    assert (await getting).engine is engines[0]


async def test_all_settings_count_under_the_runner_too(
    engines: list[LoadingEngine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``MOSHI_ON_END`` was ignored: the runner made its state by hand, without the hooks."""
    app = FastAPI()
    async with hook(says("")) as asked:
        for name, value in {"ON_END": asked.url, "ON_END_FOLDER": str(tmp_path), "HANG_SECS": "7"}.items():
            monkeypatch.setenv(f"MOSHI_{name}", value)
        getting = asyncio.ensure_future(RunnerState(lambda: from_environment(Settings)).get(websocket(app)))
        await asyncio.sleep(0)
        engines[0].loaded.set()
        shared = await getting
        assert shared.settings.engine.hang_secs == 7
        assert shared.outbox is not None
        await shared.outbox.add({"event": "end", "call_sid": "CA1"})
        async with asyncio.timeout(5):
            while not asked.told:  # noqa: ASYNC110 - it is delivered in the background
                await asyncio.sleep(0.01)
        assert [told["call_sid"] for told in asked.told] == ["CA1"]
        for stop in app.router.on_shutdown:
            await stop()
