"""A call that arrives while the engine loads: it rings, and then the engine answers."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from moshi_phone.audio.ringback import ringback
from moshi_phone.engines.duplex import DuplexSession, DuplexStep, EngineFailed, EngineUnavailable, Unsupported
from moshi_phone.engines.ringing_session import RingingSession
from moshi_phone.testing import FakeEngine

FRAME = np.full(1_920, 0.25, np.float32)


async def test_it_rings_until_the_engine_answers() -> None:
    engine = FakeEngine()
    opened: asyncio.Future[DuplexSession] = asyncio.get_running_loop().create_future()
    session = RingingSession(lambda: opened)
    outputs = session.outputs()
    heard = []
    for _ in range(2):
        session.feed(FRAME)
        step = await anext(outputs)
        assert step.pcm is not None
        heard.append(step.pcm)
    assert np.array_equal(np.concatenate(heard), ringback(0, 2 * 1_920, 24_000))
    with pytest.raises(Unsupported):
        session.say("hello")

    opened.set_result(engine.open_session())
    await asyncio.sleep(0.01)
    session.feed(FRAME)
    assert session.backlog_frames == 1
    assert (await anext(outputs)).pcm is FRAME  # the engine under test is a mirror
    await session.close()
    assert engine.running == 0
    assert [step async for step in outputs] == []


async def test_an_engine_that_cannot_be_loaded_ends_the_call_with_its_error() -> None:
    async def fails() -> DuplexSession:
        raise EngineUnavailable("No weights; run download.")

    session = RingingSession(fails)
    with pytest.raises(EngineFailed, match="No weights; run download"):
        await anext(session.outputs())
    await session.close()


async def test_a_caller_who_hangs_up_first_leaves_nothing_open() -> None:
    engine = FakeEngine()
    loaded = asyncio.Event()

    async def opening() -> DuplexSession:
        await loaded.wait()
        return engine.open_session()

    session = RingingSession(opening)
    session.feed(FRAME)
    outputs = session.outputs()
    assert isinstance(await anext(outputs), DuplexStep)
    await session.close()
    loaded.set()
    await asyncio.sleep(0.01)
    assert engine.opened == 0
    assert [step async for step in outputs] == []


async def test_a_session_closed_at_once_opens_no_engine_session() -> None:
    session = RingingSession(lambda: pytest.fail("the engine was asked"))
    await session.close()
    await asyncio.sleep(0)


async def test_an_engine_error_ends_the_call_and_the_ringing() -> None:
    async def breaks() -> DuplexSession:
        raise ZeroDivisionError

    session = RingingSession(breaks)
    with pytest.raises(EngineFailed, match="the server's log says why"):
        await anext(session.outputs())


async def test_frames_from_before_the_engine_was_ready_are_all_answered() -> None:
    """Two frames while the engine loads: the processor expects two answers."""
    engine = FakeEngine()
    opened: asyncio.Future[DuplexSession] = asyncio.get_running_loop().create_future()
    session = RingingSession(lambda: opened)
    session.feed(FRAME)
    session.feed(FRAME)
    opened.set_result(engine.open_session())
    await asyncio.sleep(0.01)
    session.feed(FRAME)
    outputs = session.outputs()
    steps = [await anext(outputs) for _ in range(3)]
    assert session.backlog_frames == 0
    assert [step.pcm is FRAME for step in steps] == [False, False, True]
    await session.close()


def test_it_forwards_all_properties_of_a_session() -> None:
    asked = {name for name in vars(DuplexSession) if not name.startswith("_")}
    assert not asked - vars(RingingSession).keys()
