from __future__ import annotations

import asyncio

import pytest

from moshi_phone.access.refusal import Refusal, RefusalCause
from moshi_phone.server.calls.admission import reserve
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.startup import EngineLog, watching
from moshi_phone.server.web.health import status_of
from moshi_phone.testing.engine import FakeEngine
from tests.support.logs import Logged
from tests.support.simulated import run_simulated


def test_each_change_of_health_is_logged_once_and_loading_is_not(logged: Logged) -> None:
    log = EngineLog()
    for error in ("not loaded", "not loaded", None, None, "broken", "broken", "worse", None, None):
        log.note(error)
    assert [line.strip() for line in logged.lines] == [
        "WARNING The engine takes no calls: broken",
        "WARNING The engine takes no calls: worse",
        "INFO The engine takes calls again",
    ]


class Watched(FakeEngine):
    """Counts its health checks; an engine that hangs reacts to them."""

    watched = 0
    failure: str | None = None

    @property
    def error(self) -> str | None:
        return self.failure

    def watch(self) -> None:
        self.watched += 1


async def test_reading_an_engine_s_health_changes_and_logs_nothing(logged: Logged) -> None:
    """``GET /healthz`` used to abandon a model thread and to log."""
    engine = Watched()
    state = ServerState(engine)
    await engine.start(lambda _: None)
    engine.failure = "The model does not work."
    for _ in range(3):
        assert not status_of(state).ready
        assert reserve(state, "CA1") == Refusal(RefusalCause.ENGINE, "The model does not work.")
    assert (engine.watched, logged.text) == (0, "")


def test_a_watchdog_checks_and_logs_the_engine_s_health(logged: Logged) -> None:
    engine = Watched()

    async def main() -> None:
        await engine.start(lambda _: None)
        async with watching(engine):
            await asyncio.sleep(2.1)
            engine.failure = "The model does not work."
            await asyncio.sleep(2)
            engine.failure = None
            await asyncio.sleep(1)
        engine.failure = "It has been stopped."
        await asyncio.sleep(5)

    run_simulated(main())
    assert engine.watched == pytest.approx(10, abs=1)
    fails, works = logged.text.splitlines()  # one line for each change, whatever is looked at meanwhile
    assert fails.startswith("WARNING ")
    assert "The model does not work." in fails
    assert works.startswith("INFO ")
