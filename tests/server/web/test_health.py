from __future__ import annotations

from moshi_phone.engines.duplex import NO_REQUEST
from moshi_phone.server.calls.engine_health import reserve
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.web.health import ENGINE_ERROR, health
from tests.support.fake_engines import FakeEngine


async def line(capacity: int) -> ServerState:
    state = ServerState(FakeEngine(capacity), clock=lambda: 100.0)
    await state.engine.start(lambda _: None)
    return state


async def test_a_reservation_counts_as_a_session() -> None:
    state = await line(2)
    assert reserve(state, "CA1") is None
    assert reserve(state, "CA1") is None  # Twilio asks again where it had no answer
    assert reserve(state, "CA2") is None
    assert reserve(state, "CA3") == "all 2 sessions are taken"


async def test_the_only_session() -> None:
    state = await line(1)
    session = state.engine.open_session(NO_REQUEST)
    assert reserve(state, "CA1") == "the only session is taken"
    await session.close()
    assert reserve(state, "CA1") is None


async def test_what_a_call_may_ask_for() -> None:
    state = await line(1)
    assert (health(state)["can"], health(state)["takes"]) == ([], [])
    state.engine.abilities = frozenset({"say"})
    state.engine.takes = frozenset({"voice", "persona"})
    assert (health(state)["can"], health(state)["takes"]) == (["say"], ["persona", "voice"])


async def test_a_line_that_is_closing_takes_no_call() -> None:
    state = await line(1)
    state.calls.closing = "the line is shutting down"
    assert reserve(state, "CA1") == "the line is shutting down"
    assert (health(state)["ready"], health(state)["error"]) == (False, "the line is shutting down")


async def test_everybody_may_know_that_it_is_the_engine_but_not_why() -> None:
    state = ServerState(FakeEngine())
    assert reserve(state, "CA1") == "The fake engine is not ready."  # for the log
    assert (health(state)["ready"], health(state)["error"]) == (False, ENGINE_ERROR)
