from __future__ import annotations

import numpy as np
import pytest

from moshi_phone.engines.duplex import DuplexStep, EngineBusy, EngineFailed, Unsupported
from moshi_phone.testing import FakeEngine, FakeSession, run_simulated

FRAME = np.full(1_920, 0.5, np.float32)


async def first(session: FakeSession, frames: int) -> list[DuplexStep]:
    """Feed several frames, and return the steps that answer them."""
    outputs = session.outputs()
    for _ in range(frames):
        session.feed(FRAME)
    return [await anext(outputs) for _ in range(frames)]


def test_it_is_a_mirror() -> None:
    session = FakeSession()
    steps = run_simulated(first(session, 2))
    assert all(step.pcm is FRAME for step in steps)
    assert [step.text for step in steps] == [" 1", " 2"]
    assert (len(session.heard), session.steps, session.backlog_frames) == (2, 2, 0)


def test_it_gives_its_configured_answers_and_then_silence() -> None:
    hello = DuplexStep(FRAME, text=" Hello")
    steps = run_simulated(first(FakeSession(answers=[hello]), 2))
    assert steps[0] is hello
    assert not np.any(steps[1].pcm)
    assert steps[1].text == ""


def test_each_session_starts_with_the_first_answer() -> None:
    hello = DuplexStep(FRAME, text=" Hello")
    engine = FakeEngine(answers=iter([hello]))
    for _ in range(2):
        assert run_simulated(first(engine.open_session(), 1)) == [hello]


def test_it_fails_at_the_configured_frame() -> None:
    session = FakeEngine(fails_at=2).open_session()
    with pytest.raises(EngineFailed):
        run_simulated(first(session, 2))


async def test_its_sessions_are_counted_and_freed() -> None:
    engine = FakeEngine(capacity=1)
    session = engine.open_session()
    with pytest.raises(EngineBusy):
        engine.open_session()
    await session.close()
    await session.close()
    assert (engine.running, engine.opened) == (0, 1)
    engine.open_session()


async def test_words_to_say_are_recorded_if_the_engine_supports_them() -> None:
    able = FakeSession()
    able.say("hello")
    assert able.sayings == ["hello"]
    assert able.listens
    unable = FakeEngine().open_session()
    assert not unable.listens
    with pytest.raises(Unsupported):
        unable.say("hello")


async def test_a_frame_of_another_shape_is_refused_as_by_every_engine() -> None:
    with pytest.raises(ValueError, match=r"expected float32 \[1920\]"):
        FakeSession().feed(np.zeros(960, np.float32))
