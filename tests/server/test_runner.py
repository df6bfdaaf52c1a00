"""server/runner.py: one shared engine, loaded once, retried after a failure, stopped with the app."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from fastapi import FastAPI

from moshi_phone.commands.options import from_environment
from moshi_phone.engines.choose import EngineChoice
from moshi_phone.engines.duplex import EngineUnavailable, Progress
from moshi_phone.engines.options import EngineOptions
from moshi_phone.server import runner
from moshi_phone.server.runner import RunnerState
from moshi_phone.server.settings import Settings
from moshi_phone.testing.engine import FakeEngine
from tests.fakes.hook import hook, says
from tests.support.logs import Logged


class LoadingEngine(FakeEngine):
    """Finishes loading, or fails, when the test says so."""

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
    """The engines created."""
    made: list[LoadingEngine] = []

    def choose(_: EngineOptions) -> EngineChoice:
        made.append(LoadingEngine())
        return EngineChoice(made[-1], "as requested")

    monkeypatch.setattr(runner, "create_engine", choose)
    return made


def state() -> RunnerState:
    return RunnerState(Settings)


async def stop(app: FastAPI) -> None:
    for each in app.router.on_shutdown:
        await each()


async def test_two_calls_at_once_load_one_engine(engines: list[LoadingEngine]) -> None:
    app, shared = FastAPI(), state()
    first, second = await asyncio.gather(shared.get(app), shared.get(app))
    assert first is second
    assert first.loading is not None
    assert not first.loading.done()  # a call need not wait for it
    engines[0].loaded.set()
    await first.loading
    assert first.loading is None
    assert len(engines) == 1
    await stop(app)
    assert (len(app.router.on_shutdown), engines[0].stops) == (1, 1)


async def test_a_failed_engine_is_stopped_and_the_next_call_retries(
    engines: list[LoadingEngine], logged: Logged
) -> None:
    shared, app = state(), FastAPI()
    first = await shared.get(app)
    engines[0].failure = EngineUnavailable("No weights.")
    engines[0].loaded.set()
    assert first.loading is not None
    with pytest.raises(EngineUnavailable, match="No weights"):
        await first.loading
    assert engines[0].stops == 1
    assert "No weights." in logged.text
    again = await shared.get(app)
    engines[1].loaded.set()
    assert again.engine is engines[1]
    await stop(app)
    assert engines[1].stops == 1


async def test_an_app_of_another_framework_works(engines: list[LoadingEngine]) -> None:
    shared = state()
    assert (await shared.get(None)).engine is engines[0]
    await shared.stop()
    assert engines[0].stops == 1


async def test_the_engine_is_loaded_at_the_app_s_start(
    engines: list[LoadingEngine],
) -> None:
    app, shared = FastAPI(), state()
    shared.load_with(app)
    assert not engines
    async with app.router.lifespan_context(app):
        assert len(engines) == 1  # before any call
        assert (await shared.get(app)).engine is engines[0]
    assert engines[0].stops == 1
    assert app.router.on_shutdown == []


async def test_all_settings_apply_under_the_runner(
    engines: list[LoadingEngine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``MOSHI_ON_END`` used to be ignored: the runner created its state separately, without the hooks."""
    app = FastAPI()
    async with hook(says("")) as asked:
        for name, value in {"ON_END": asked.url, "ON_END_FOLDER": str(tmp_path), "HANG_SECS": "7"}.items():
            monkeypatch.setenv(f"MOSHI_{name}", value)
        shared = await RunnerState(lambda: from_environment(Settings)).get(app)
        engines[0].loaded.set()
        assert shared.settings.engine.hang_secs == 7
        assert shared.outbox is not None
        await shared.outbox.add({"event": "end", "call_sid": "CA1"})
        async with asyncio.timeout(20):
            while not asked.told:  # noqa: ASYNC110 - it is delivered in the background
                await asyncio.sleep(0.01)
        assert [told["call_sid"] for told in asked.told] == ["CA1"]
        await stop(app)
