"""The whole engine on the tiny checkpoint, with the real codec."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from loguru import logger

from moshi_phone.engines.duplex import CallOverrides, DuplexStep, EngineBusy, EngineFailed, RequestRefused
from moshi_phone.engines.moshi.codec.stream_codecs import Decoder
from moshi_phone.engines.moshi.engine import MoshiEngine
from moshi_phone.engines.moshi.model.token_history import NO_PREFIX
from moshi_phone.engines.options import EngineOptions
from tests.engines.moshi.engine_calls import WAIT_S, Clock, feed_together, frame, read, settled, talk
from tests.support.fake_timer import Laters
from tests.support.logs import Logged
from tests.support.waiting import wait_until

GREETING_FRAMES = 3


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def laters() -> Laters:
    return Laters()


@pytest.fixture(scope="module")
def engine(tiny_checkpoint: Path, clock: Clock, laters: Laters) -> Iterator[MoshiEngine]:
    options = EngineOptions(model=str(tiny_checkpoint), calls=2, seed=1, greeting_frames=GREETING_FRAMES)
    engine = MoshiEngine(options, clock=clock, run_later=laters, codec_limit_frames=500)
    lines: list[str] = []
    assert engine.error == "Moshi is not loaded."
    with pytest.raises(EngineBusy, match="not loaded"):
        engine.open_session()
    asyncio.run(engine.start(lines.append))
    assert lines[-1] == "Moshi is ready for 2 calls at once."
    yield engine
    asyncio.run(engine.stop())


async def test_every_call_is_greeted_and_answered_alike(engine: MoshiEngine) -> None:
    calls = []
    for _ in range(2):
        session = engine.open_session()
        assert engine.running == 1
        calls.append(await talk(session, range(GREETING_FRAMES + 1)))
        await session.close()
        assert engine.running == 0
    for first, second in zip(*calls, strict=True):
        assert first.text == second.text
        assert first.pcm is not None
        assert second.pcm is not None
        np.testing.assert_allclose(first.pcm, second.pcm, atol=1e-4)
    assert len(engine.greetings.default) == GREETING_FRAMES
    pieces = [step.text for step in calls[0][:GREETING_FRAMES]]
    assert "".join(pieces).strip(), "the greeting has words"


@pytest.mark.slow
async def test_the_greeting_depends_on_the_seed_alone(engine: MoshiEngine) -> None:
    loaded = engine._loaded
    assert loaded is not None
    recorder = engine._recorder(loaded)
    recording = loaded.thread.call(lambda: recorder.record(None, lambda _: None))
    again = (await asyncio.wrap_future(recording)).default
    assert [part.text_token for part in again] == [part.text_token for part in engine.greetings.default]
    for part, first in zip(again, engine.greetings.default, strict=True):
        np.testing.assert_array_equal(part.audio_tokens, first.audio_tokens)


@pytest.mark.slow
async def test_two_simultaneous_calls_are_independent(
    engine: MoshiEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = engine.open_session()
    alone = await talk(session, range(4))
    await session.close()
    first, second = engine.open_session(), engine.open_session()
    with pytest.raises(EngineBusy, match="holds 2 calls at once, and all are taken"):
        engine.open_session()
    with monkeypatch.context() as smaller:
        smaller.setattr(engine, "capacity", 1)
        with pytest.raises(EngineBusy, match="holds one call at a time, and it is taken"):
            engine.open_session()
    together, other = await asyncio.gather(talk(first, range(4)), talk(second, range(50, 54)))
    await asyncio.gather(first.close(), second.close())
    assert [step.text for step in together] == [step.text for step in alone]
    assert len(other) == 4


@pytest.mark.timed
async def test_the_slowest_stage_limits_the_pace(engine: MoshiEngine) -> None:
    session, frames = engine.open_session(), 16
    outputs = session.outputs()
    fed, steps, times_s = 0, list[DuplexStep](), list[float]()
    while len(steps) < frames:
        while fed < frames and session.backlog_frames < 4:
            session.feed(frame(fed))
            fed += 1
        steps.append(await read(outputs))
        times_s.append(time.perf_counter())
    assert session.dropped_frames == 0
    await session.close()
    # The line is full from the third step on, until the last frame has gone in.
    full = slice(3, frames - 3)
    ms = [
        np.mean([step.timings_ms[stage] for step in steps[full]])
        for stage in ("encode", "language", "decode")
    ]
    pace_ms = 1000 * (times_s[full][-1] - times_s[full][0]) / (len(times_s[full]) - 1)
    assert pace_ms < 0.9 * sum(ms), f"{pace_ms:.0f} ms a frame, stages {ms}"


async def test_model_work_does_not_block_the_event_loop(engine: MoshiEngine) -> None:
    session = engine.open_session()
    late_ms, done = list[float](), asyncio.Event()

    async def tick() -> None:
        while not done.is_set():
            began_s = time.perf_counter()
            await asyncio.sleep(0.002)
            late_ms.append(1000 * (time.perf_counter() - began_s) - 2)

    ticking = asyncio.create_task(tick())
    await talk(session, range(8))
    done.set()
    await ticking
    await session.close()
    # A busy machine may let any thread wait now and then; model work on the loop would show all the time.
    assert np.percentile(late_ms, 90) < 60


async def test_a_model_error_ends_its_own_call_only(engine: MoshiEngine) -> None:
    lost = engine.lost_calls
    broken, sound = engine.open_session(), engine.open_session()
    await asyncio.gather(talk(broken, range(1)), talk(sound, range(1)))
    assert broken._language is not None
    broken._language._hear = lambda *_: 1 // 0  # type: ignore[method-assign, assignment]
    broken_outputs, sound_outputs = await feed_together(engine, [broken, sound], frame(1))
    with pytest.raises(EngineFailed, match="division"):
        await read(broken_outputs)
    await read(sound_outputs)
    await broken.close()
    assert len(await talk(sound, range(2, 4))) == 2
    await settled(engine)
    assert (engine.error, engine.lost_calls, engine.running) == (None, lost + 1, 1)
    again = engine.open_session()
    assert len(await talk(again, range(1))) == 1
    await asyncio.gather(again.close(), sound.close())


async def test_a_hanging_model_ends_its_own_call_only(engine: MoshiEngine, clock: Clock) -> None:
    lost = engine.lost_calls
    hung, sound = engine.open_session(), engine.open_session()
    await asyncio.gather(talk(hung, range(1)), talk(sound, range(1)))
    entered, let_go = threading.Event(), threading.Event()

    def hang(*_: object, **__: object) -> None:
        entered.set()
        let_go.wait(WAIT_S)

    assert hung._language is not None
    hung._language._hear = hang  # type: ignore[method-assign, assignment]
    hung.feed(frame(1))
    assert await asyncio.to_thread(entered.wait, WAIT_S)
    clock.now_s += 2.0
    engine.watch()
    assert engine.error is None, "it may still come back"
    clock.now_s += 1.0
    assert engine.error is None, "who reads changes nothing"
    engine.watch()
    assert engine.error is not None
    assert "is tested before" in engine.error
    with pytest.raises(EngineFailed, match="took more than 3 s"):
        await read(hung.outputs())
    await hung.close()
    assert len(await talk(sound, range(1, 3))) == 2, "the other call goes on in a new thread"
    await settled(engine)
    assert (engine.error, engine.lost_calls, engine.running) == (None, lost + 1, 1)
    again = engine.open_session()
    assert len(await talk(again, range(1))) == 1
    let_go.set()
    assert len(await talk(sound, range(3, 4))) == 1, "nor does it harm when the old thread wakes up"
    await asyncio.gather(again.close(), sound.close())


def test_a_hung_step_is_abandoned_before_the_calls_queued_behind_it() -> None:
    for hang_secs in (0.5, 5.0, 60.0):
        assert MoshiEngine(EngineOptions(hang_secs=hang_secs))._hang_s < hang_secs


async def test_a_call_that_ends_in_a_hung_step_frees_its_session(engine: MoshiEngine, clock: Clock) -> None:
    lost = engine.lost_calls
    session = engine.open_session()
    await talk(session, range(1))
    entered, let_go = threading.Event(), threading.Event()

    def hang(*_: object, **__: object) -> None:
        entered.set()
        let_go.wait(WAIT_S)

    assert session._language is not None
    session._language._hear = hang  # type: ignore[method-assign, assignment]
    session.feed(frame(1))
    assert await asyncio.to_thread(entered.wait, WAIT_S)
    clock.now_s += 1.0
    await session.close()
    await settled(engine)
    assert (engine.error, engine.lost_calls, engine.running) == (None, lost + 1, 0)
    let_go.set()


async def test_a_failed_model_is_retried_until_it_works(
    engine: MoshiEngine, laters: Laters, logged: Logged
) -> None:
    assert engine._loaded is not None
    model = engine._loaded.model
    norm, model.out_norm = model.out_norm, None
    engine.on_failed(SimpleNamespace(log=logger), "A test broke it.")  # type: ignore[arg-type]
    for pause_s in (1.0, 2.0, 5.0, 10.0):
        await settled(engine)
        assert laters.secs.pop() == pause_s
        assert engine.error == f"Moshi's model does not work; the next test is in {pause_s:g} s."
        with pytest.raises(EngineBusy, match="the next test is in"):
            engine.open_session()
        laters.run()
    model.out_norm = norm
    await settled(engine)
    laters.run()
    await settled(engine)
    assert engine.error is None
    assert any("A test broke it." in line for line in logged.lines)
    assert any("NoneType" in line for line in logged.lines), "the log has the reason"
    session = engine.open_session()
    assert len(await talk(session, range(1))) == 1
    await session.close()


async def test_a_lost_codec_is_replaced(engine: MoshiEngine) -> None:
    session = engine.open_session()
    await talk(session, range(1))
    await session.close()
    assert engine._loaded is not None
    pool, replaced = engine._loaded.codecs.decoders, list[object]()
    coder = Decoder(pool)
    coder.release()
    replace = pool.replace
    pool.replace = lambda: replaced.append(None)  # type: ignore[method-assign]
    engine.on_closed(session, [coder, coder])
    pool.replace = replace  # type: ignore[method-assign]
    assert len(replaced) == 2


async def test_a_greeting_that_cannot_be_said_is_refused_before_the_call_is_connected(
    engine: MoshiEngine,
) -> None:
    for ask in (engine.prepare, engine.open_session):
        for greeting in ("()", "ba " * 2000):
            with pytest.raises(RequestRefused, match="The greeting"):
                ask(CallOverrides(greeting=greeting))
    assert engine.error is None, "no codec was lost over it"


async def test_without_codecs_the_engine_reports_busy_until_they_are_loaded(
    engine: MoshiEngine, laters: Laters, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert engine._loaded is not None
    pool, path = engine._loaded.codecs.decoders, engine._loaded.codecs.decoders._path
    lost = [pool.take() for _ in range(4)]  # as if they hung
    pool._path = path / "gone"
    pool.replace()
    await asyncio.to_thread(wait_until, lambda: laters.secs[-1:] == [1.0])
    assert engine.error == "A codec for the next call is still being loaded; try again in a second."
    with pytest.raises(EngineBusy, match="still being loaded"):
        engine.open_session()
    pool._path = path
    laters.run()
    await asyncio.to_thread(wait_until, lambda: pool.ready == 2)
    assert engine.error is None
    for mimi in lost[:3]:
        pool.give_back(mimi)


@pytest.mark.parametrize("greeting", ["silence", "none"])
async def test_other_greetings(engine: MoshiEngine, greeting: str) -> None:
    loaded = engine._loaded
    assert loaded is not None
    options = replace(engine._options, greeting=greeting, greeting_frames=3)
    recorder = replace(engine._recorder(loaded), options=options)
    recording = loaded.thread.call(lambda: recorder.record(None, lambda _: None))
    opening = (await asyncio.wrap_future(recording)).default
    if greeting == "none":
        assert opening == NO_PREFIX
    else:
        assert [part.text_token for part in opening] == [3, 3, 3]
