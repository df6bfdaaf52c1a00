from __future__ import annotations

import asyncio

import pytest

from moshi_phone.engines.duplex import NO_OVERRIDES, EngineUnavailable, Progress
from moshi_phone.server.calls.admission import reserve
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.startup import Startup
from moshi_phone.server.web.health import ENGINE_ERROR, status_of
from moshi_phone.server.web.local_calls import LocalCalls
from moshi_phone.testing.engine import FakeEngine
from tests.support.logs import Logged


async def line(capacity: int) -> ServerState:
    state = ServerState(FakeEngine(capacity), clock=lambda: 100.0)
    await state.engine.start(lambda _: None)
    return state


def why(state: ServerState, call_sid: str) -> str:
    refusal = reserve(state, call_sid)
    assert refusal is not None
    return refusal.reason


async def test_a_reservation_counts_as_a_used_session() -> None:
    state = await line(2)
    assert reserve(state, "CA1") is None
    assert reserve(state, "CA1") is None  # Twilio repeats a request without a response
    assert (status_of(state).reserved, status_of(state).free) == (1, 1)
    assert reserve(state, "CA2") is None
    assert why(state, "CA3") == "all 2 sessions are taken"


async def test_the_reason_if_the_only_session_is_taken() -> None:
    state = await line(1)
    session = state.engine.open_session(NO_OVERRIDES)
    assert why(state, "CA1") == "the only session is taken"
    await session.close()
    assert reserve(state, "CA1") is None


async def test_healthz_lists_what_a_call_may_request() -> None:
    state = await line(1)
    assert (status_of(state).capabilities, status_of(state).supported_overrides) == ([], [])
    state.engine.capabilities = frozenset({"say"})
    state.engine.supported_overrides = frozenset({"voice", "persona"})
    status = status_of(state)
    assert (status.capabilities, status.supported_overrides) == (["say"], ["persona", "voice"])


async def test_a_closing_server_takes_no_call() -> None:
    state = await line(1)
    state.calls.closing = "the line is shutting down"
    assert why(state, "CA1") == "the line is shutting down"
    assert status_of(state).refusal == "the line is shutting down"


async def test_strangers_read_that_the_engine_failed_but_not_why() -> None:
    state = ServerState(FakeEngine())
    assert why(state, "CA1") == "The fake engine is not ready."  # for the log
    status = status_of(state)
    assert (status.ready, status.refusal, status.free) == (False, ENGINE_ERROR, 0)


class TalkativeEngine(FakeEngine):
    """Reports its progress, and may fail at its end or later."""

    broken: str | None = None
    never_ready = False

    @property
    def error(self) -> str | None:
        return self.broken or super().error

    async def start(self, progress: Progress) -> None:
        progress("One of two.")
        progress("Two of two.")
        if self.never_ready:
            raise EngineUnavailable("The weights are missing.")
        await super().start(progress)


async def test_an_error_of_a_user_s_engine_is_one_sentence_and_its_own_traceback(
    logged: Logged,
) -> None:
    class Broken(FakeEngine):
        async def start(self, progress: Progress) -> None:
            raise RuntimeError("the key is wrong")

    engine = Broken()
    with pytest.raises(EngineUnavailable, match=r"^The engine fake did not start \(RuntimeError: the key is"):
        await ServerState(engine).startup.run(engine, lambda _: None)
    assert "ERROR The engine fake did not start" in logged.text


async def test_the_phases_of_a_server_in_order() -> None:
    engine = TalkativeEngine()
    state = ServerState(engine, engine_reason="on Metal")
    status = status_of(state)
    assert (status.phase, status.progress, status.failure) == ("loading", "", None)
    assert (status.engine, status.engine_reason) == ("fake", "on Metal")
    said: list[str] = []
    await state.startup.run(engine, said.append)
    assert said == ["One of two.", "Two of two."]
    status = status_of(state)
    assert (status.phase, status.progress, status.failure) == ("ready", None, None)
    assert (status.sessions, status.capacity, status.free) == (0, 4, 4)
    engine.broken = "The model broke."
    status = status_of(state)
    assert (status.phase, status.progress, status.failure) == ("error", None, "The model broke.")
    state.calls.closing = "the line is shutting down"
    status = status_of(state)
    assert (status.phase, status.failure) == ("closing", None)


async def test_a_failed_start_is_not_done() -> None:
    engine, startup = TalkativeEngine(), Startup()
    engine.never_ready = True
    with pytest.raises(EngineUnavailable):
        await startup.run(engine, lambda _: None)
    assert (startup.progress, startup.done) == ("Two of two.", False)


async def test_the_reason_of_a_failed_start_is_sent_before_the_server_ends() -> None:
    state = ServerState(FakeEngine())
    calls = LocalCalls(state)
    assert not calls.is_over()
    waiting = asyncio.ensure_future(calls.pause(60.0))
    await asyncio.sleep(0)
    state.startup.fail("The disk is full; free some space.")
    await asyncio.wait_for(waiting, 30)
    status = await calls.status()
    assert (status.phase, status.failure) == ("error", "The disk is full; free some space.")
    assert calls.is_over(), "the stream of events ends, and the server's end waits for none"
