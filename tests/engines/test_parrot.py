from __future__ import annotations

import numpy as np
import pytest
import soundfile

from moshi_phone.audio.formats import FRAME_SAMPLES, Pcm
from moshi_phone.engines.duplex import DuplexStep, EngineBusy
from moshi_phone.engines.parrot import GREETING, GREETING_FILE, ParrotEngine, ParrotSession


async def started(delay_s: float, capacity: int = 64) -> ParrotEngine:
    engine = ParrotEngine(delay_s, capacity)
    await engine.start(lambda _: None)
    return engine


async def answers(session: ParrotSession, frames: int, says: Pcm | None = None) -> list[DuplexStep]:
    """Feed frames one by one, each answered before the next."""
    steps = []
    outputs = session.outputs()
    for index in range(frames):
        heard = np.zeros(FRAME_SAMPLES, np.float32)
        if says is not None and index * FRAME_SAMPLES < says.size:
            heard = says[index * FRAME_SAMPLES : (index + 1) * FRAME_SAMPLES]
        session.feed(heard)
        steps.append(await anext(outputs))
    return steps


def joined(steps: list[DuplexStep]) -> Pcm:
    return np.concatenate([step.pcm for step in steps if step.pcm is not None])


async def test_it_greets_in_real_time_from_the_first_frame() -> None:
    clip, rate_hz = soundfile.read(GREETING_FILE, dtype="float32")
    assert rate_hz == 24_000
    steps = await answers((await started(1)).open_session(), 60)
    said = joined(steps)
    np.testing.assert_array_equal(said[: clip.size], clip)
    assert not said[clip.size :].any()
    assert np.abs(steps[0].pcm if steps[0].pcm is not None else 0).max() > 0.01
    assert "".join(step.text for step in steps) == " " + GREETING


@pytest.mark.parametrize("delay_s", [0.03, 1, 1.37])
async def test_it_repeats_the_caller_after_the_delay_to_the_sample(delay_s: float) -> None:
    engine = await started(delay_s)
    words = np.random.default_rng(1).uniform(-0.1, 0.1, 4 * FRAME_SAMPLES).astype(np.float32)
    session = engine.open_session()
    await answers(session, 60)  # the greeting
    said = joined(await answers(session, 30, words))
    at = round(delay_s * 24_000)
    np.testing.assert_array_equal(said[at : at + words.size], words)
    assert not said[:at].any()


async def test_it_hears_while_it_greets() -> None:
    words = np.full(4 * FRAME_SAMPLES, 0.05, np.float32)
    alone = joined(await answers((await started(0.08)).open_session(), 20))
    both = joined(await answers((await started(0.08)).open_session(), 20, words))
    np.testing.assert_allclose((both - alone)[FRAME_SAMPLES : 5 * FRAME_SAMPLES], 0.05, atol=1e-6)


async def test_without_delay_it_is_a_mirror_without_a_greeting() -> None:
    words = np.random.default_rng(1).uniform(-1, 1, 4 * FRAME_SAMPLES).astype(np.float32)
    steps = await answers((await started(0)).open_session(), 4, words)
    np.testing.assert_array_equal(joined(steps), words)
    assert not any(step.text for step in steps)


async def test_two_sessions_are_independent() -> None:
    engine = await started(0.08)
    first, second = engine.open_session(), engine.open_session()
    words = np.full(2 * FRAME_SAMPLES, 0.5, np.float32)
    await answers(first, 80, np.concatenate((np.zeros(70 * FRAME_SAMPLES, np.float32), words)))
    assert not joined(await answers(second, 80))[60 * FRAME_SAMPLES :].any()


async def test_sessions_are_counted_and_freed_once() -> None:
    engine = await started(1, capacity=2)
    first = engine.open_session()
    engine.open_session()
    with pytest.raises(EngineBusy, match="2"):
        engine.open_session()
    await first.close()
    await first.close()
    assert engine.running == 1
    engine.open_session()


async def test_an_unstarted_parrot_takes_no_calls() -> None:
    engine = ParrotEngine()
    with pytest.raises(EngineBusy, match="not been started"):
        engine.open_session()


async def test_closing_ends_the_outputs() -> None:
    session = (await started(1)).open_session()
    await session.close()
    assert [step async for step in session.outputs()] == []


async def test_unread_steps_are_dropped_oldest_first() -> None:
    session = (await started(0)).open_session()
    for value in range(60):
        session.feed(np.full(FRAME_SAMPLES, value / 100, np.float32))
    assert (session.backlog_frames, session.dropped_frames) == (50, 10)
    first = await anext(session.outputs())
    assert first.pcm is not None
    assert first.pcm[0] == pytest.approx(0.10)


@pytest.mark.parametrize(
    "wrong", [np.zeros(1_919, np.float32), np.zeros(1_920), np.zeros((1, 1_920), np.float32)]
)
async def test_an_invalid_frame_is_refused(wrong: Pcm) -> None:
    with pytest.raises(ValueError, match=r"expected float32 \[1920\], got"):
        (await started(0)).open_session().feed(wrong)
