from __future__ import annotations

import asyncio
import json
import time

import pytest

from moshi_phone.access.refusal import Refusal, RefusalCause
from moshi_phone.engines.parrot import ParrotEngine
from moshi_phone.server.calls import load as load_module
from moshi_phone.server.calls.admission import reserve
from moshi_phone.server.calls.load import EVERY_S, HIGH_LAG_S, LOW_LAG_S, WINDOW_S, Load, watch_load
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.web.health import status_of
from moshi_phone.telephony.media_stream import parse
from tests.support.phone import start_message
from tests.support.waiting import until

SAMPLES = round(WINDOW_S / EVERY_S)


@pytest.fixture(autouse=True)
def _usual_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore the limit that tests/conftest.py removes."""
    monkeypatch.setattr(load_module, "HIGH_LAG_S", HIGH_LAG_S)


def loaded(lag_s: float, *, missed: float = 0.0, load: Load | None = None, samples: int = SAMPLES) -> Load:
    """Return the load monitor after five seconds of constant load."""
    load = load or Load()
    for number in range(samples):
        load.note(lag_s, number * 100, round(number * 100 * missed))
    return load


def test_a_quiet_server_takes_calls() -> None:
    assert loaded(0.002).reason is None
    assert loaded(0.0, missed=0.1).reason is None


def test_a_lagging_event_loop_is_overloaded() -> None:
    load = loaded(HIGH_LAG_S + 0.01)
    assert load.reason == "the server is overloaded: timers are 50 ms late, 0 % of frames slow"


def test_a_late_engine_is_overloaded() -> None:
    assert loaded(0.0, missed=0.5).reason == (
        "the server is overloaded: timers are 0 ms late, 50 % of frames slow"
    )


def test_one_hiccup_is_not_overload() -> None:
    load = loaded(0.002)
    load.note(0.9, 10_000, 0)
    assert load.reason is None


def test_five_seconds_are_needed() -> None:
    assert loaded(0.5, samples=SAMPLES - 1).reason is None
    assert loaded(0.5).reason is not None


def test_it_has_hysteresis() -> None:
    load = loaded(HIGH_LAG_S + 0.01)
    assert loaded((HIGH_LAG_S + LOW_LAG_S) / 2, load=load).is_high
    assert not loaded(LOW_LAG_S - 0.01, load=load).is_high


def test_a_frozen_process_is_not_overloaded() -> None:
    load = loaded(0.002)
    load.note(12.0, 10_000, 0)
    for _ in range(SAMPLES - 1):
        load.note(0.002, 10_000, 0)
    assert load.reason is None


@pytest.mark.timed
async def test_a_continuously_busy_loop_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_module, "EVERY_S", 0.02)
    monkeypatch.setattr(load_module, "_SAMPLES", 20)  # in place of fifty, which take eight seconds
    monkeypatch.setattr(load_module, "_P95", 18)
    load = Load()
    watching = asyncio.create_task(watch_load(load, lambda: (0, 0)))

    async def work() -> None:
        while not load.is_high:
            time.sleep(0.05)  # noqa: ASYNC251 - as a loop that has too much to do
            await asyncio.sleep(0)

    async with asyncio.timeout(30):
        await work()
    await until(lambda: not load.is_high, 60)
    watching.cancel()


async def test_the_next_call_is_refused_while_one_runs() -> None:
    engine = ParrotEngine()
    await engine.start(lambda _: None)
    state = ServerState(engine)
    loaded(0.5, load=state.load)
    assert reserve(state, "CA1") is None  # there is no running call to protect
    assert status_of(state).ready
    start = parse(json.dumps(start_message()))
    call = state.calls.begin(start)  # type: ignore[arg-type]
    refusal = reserve(state, "CA2")
    assert isinstance(refusal, Refusal)
    assert refusal.cause is RefusalCause.OVERLOAD
    status = status_of(state)
    assert (status.phase, status.ready, status.refusal, status.free) == ("ready", False, refusal.reason, 0)
    assert status.health(is_public=True)["load"] == {
        "lag_ms": 500.0,
        "deadline_misses": 0.0,
        "overloaded": True,
    }
    state.calls.finish(call)
    assert reserve(state, "CA2") is None
