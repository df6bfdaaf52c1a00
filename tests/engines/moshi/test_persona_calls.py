"""Calls with personas, on a tiny PersonaPlex with a real Mimi: prepared, cached, independent."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

from moshi_phone.audio.formats import FRAME_SAMPLES
from moshi_phone.engines.duplex import CallOverrides, EngineFailed, EngineUnavailable, RequestRefused
from moshi_phone.engines.moshi.engine import MoshiEngine
from moshi_phone.engines.moshi.model.language_model import LanguageSession
from moshi_phone.engines.moshi.model.token_history import NO_PREFIX
from moshi_phone.engines.moshi.persona.prompt_cache import PersonaPrompt
from moshi_phone.engines.options import EngineOptions
from tests.engines.moshi.persona_engine import ANNA, WAIT_S, options, talk, text_of
from tests.support.logs import Logged
from tests.support.waiting import until

BEN = CallOverrides(persona="bibibi koko", voice="NATM0")


@pytest.fixture(scope="module")
def engine(tiny_personaplex: Path) -> Iterator[MoshiEngine]:
    engine = MoshiEngine(options(tiny_personaplex), codec_limit_frames=3000)
    lines: list[str] = []
    asyncio.run(engine.start(lines.append))
    assert "Moshi reads its persona." in lines
    assert not any("dadada" in line for line in lines)
    yield engine
    asyncio.run(engine.stop())


async def call(engine: MoshiEngine, request: CallOverrides, frames: int = 6) -> list[str]:
    session = engine.open_session(request)
    steps = await talk(session, frames)
    await session.close()
    assert all(step.pcm is not None for step in steps)
    return [f"{step.text} {np.asarray(step.pcm).sum():.3f}" for step in steps]


async def in_thread(engine: MoshiEngine, role: PersonaPrompt | None, frames: int) -> list[int]:
    """Return what the model says after a role's prompt, without an engine."""
    assert engine._loaded is not None
    assert role is not None
    loaded = engine._loaded
    start = await asyncio.wait_for(asyncio.wrap_future(engine._start_of(loaded, role)), WAIT_S)
    session = await asyncio.wrap_future(
        loaded.thread.call(partial(LanguageSession, loaded.model, engine.sampling, 1, start=start))
    )
    steps = [
        await asyncio.wrap_future(loaded.thread.call(partial(session.step, np.full(8, n, np.uint32))))
        for n in range(frames)
    ]
    return [step.text_token for step in steps]


@pytest.mark.slow
async def test_each_call_has_its_requested_persona(engine: MoshiEngine) -> None:
    assert engine.supported_overrides == {"persona", "voice", "greeting", "temperature"}
    default, ben = CallOverrides(), BEN
    engine.prepare(ben)
    alone = [await call(engine, request) for request in (default, ben, replace(ben, voice="VARF1"))]
    assert len({str(said) for said in alone}) == 3, "persona and voice make a difference"
    again = [await call(engine, request) for request in (ben, default)]
    assert again == [alone[1], alone[0]], "no call leaves anything behind for the next"
    both = await asyncio.gather(call(engine, default), call(engine, ben))
    assert list(both) == alone[:2], "nor for one at the same time"


async def test_a_persona_gives_the_tokens_of_its_prompt_without_an_engine(engine: MoshiEngine) -> None:
    loaded = engine._loaded
    assert loaded is not None
    first = await in_thread(engine, loaded.resolver.role(BEN), 8)
    other = await in_thread(engine, loaded.resolver.default, 8)
    assert first != other
    assert await in_thread(engine, loaded.resolver.role(BEN), 8) == first


async def test_recent_prompts_are_cached_and_their_size_is_logged_without_their_text(
    engine: MoshiEngine, logged: Logged
) -> None:
    loaded = engine._loaded
    assert loaded is not None
    requests = [CallOverrides(persona=persona) for persona in ("baba", "bebe", "bibi")]
    roles = [loaded.resolver.role(request) for request in requests]
    assert None not in roles
    made = [loaded.prompts.want(role) for role in roles if role is not None]
    states = [await asyncio.wait_for(asyncio.wrap_future(one), WAIT_S) for one in made]
    assert loaded.prompts.want(roles[2]) is made[2]  # type: ignore[arg-type]
    assert loaded.prompts.want(roles[1]) is made[1]  # type: ignore[arg-type]
    assert loaded.prompts.want(roles[0]) is not made[0], "two are kept"  # type: ignore[arg-type]
    assert loaded.prompts.kept_bytes <= 2 * max(state.size_bytes for state in states)
    lines = logged.lines
    assert any("A persona and its voice take " in line and " MB" in line for line in lines)
    assert not any("baba" in line for line in lines)
    assert "baba" not in repr(roles[0])


async def test_a_call_waits_for_its_prompt_and_has_no_delay_afterwards(
    engine: MoshiEngine,
) -> None:
    loaded = engine._loaded
    assert loaded is not None
    gate = asyncio.Event()
    loop = asyncio.get_running_loop()
    voices = loaded.prompts._load_voice

    def slow(voice: str) -> object:
        asyncio.run_coroutine_threadsafe(gate.wait(), loop).result(WAIT_S)
        return voices(voice)

    loaded.prompts._load_voice = slow  # type: ignore[assignment]
    try:
        session = engine.open_session(CallOverrides(persona="nunu", voice="VARF1"))
        for number in range(20):
            session.feed(np.full(FRAME_SAMPLES, number / 100, np.float32))
        await asyncio.sleep(0.2)
        assert session.backlog_frames <= 5, "older frames are dropped, as in any stall"
        waiting = session.backlog_frames
        gate.set()
        outputs = session.outputs()
        for _ in range(waiting):
            await asyncio.wait_for(anext(outputs), WAIT_S)
        assert session.backlog_frames == 0
        await session.close()
    finally:
        gate.set()
        loaded.prompts._load_voice = voices


async def test_a_voice_that_cannot_be_read_ends_its_own_call(engine: MoshiEngine, tmp_path: Path) -> None:
    (tmp_path / "bad.pt").write_bytes(b"no voice")
    session = engine.open_session(CallOverrides(voice=str(tmp_path / "bad.pt")))
    session.feed(np.zeros(FRAME_SAMPLES, np.float32))
    with pytest.raises(EngineFailed, match="is not a voice: it is no whole zip archive"):
        await asyncio.wait_for(anext(session.outputs()), WAIT_S)
    await session.close()


async def test_invalid_requests_are_refused_before_the_call(engine: MoshiEngine) -> None:
    for request, complaint in (
        (CallOverrides(voice="NATF9"), r"There is no voice 'NATF9' in .* \(there are: NATF2, NATM0, VARF1\)"),
        (CallOverrides(voice="../NATF2"), "There is no voice"),
        (CallOverrides(persona="bibi " * 600), r"The persona has \d+ tokens, expected at most 500"),
        (CallOverrides(greeting="()"), "The greeting cannot be said"),
    ):
        for ask in (engine.check_request, engine.prepare, engine.open_session):
            with pytest.raises(RequestRefused, match=complaint):
                ask(request)
    assert engine.running == 0


@pytest.mark.slow
async def test_a_worded_greeting_is_said_by_any_persona(engine: MoshiEngine) -> None:
    words = "dada bibi koko"
    for request in (CallOverrides(greeting=words), replace(BEN, greeting=words)):
        session = engine.open_session(request)
        assert words in text_of(await talk(session, 40, until_said=words))
        await session.close()


@pytest.mark.slow
async def test_the_default_persona_s_greeting_is_recorded_once(tiny_personaplex: Path) -> None:
    words = "dada bibi koko"
    engine = MoshiEngine(options(tiny_personaplex, greeting=words), codec_limit_frames=3000)
    await engine.start(lambda _: None)
    try:
        recorded = engine.greetings.default
        assert len(recorded) > 5
        session = engine.open_session()
        assert words in text_of(await talk(session, len(recorded), until_said=words))
        await session.close()
        other = engine.open_session(BEN)  # another voice cannot use the default voice's recording
        assert words in text_of(await talk(other, 40, until_said=words))
        await other.close()
    finally:
        await engine.stop()


async def test_a_persona_needs_no_forced_greeting(engine: MoshiEngine) -> None:
    assert engine.greetings.default == NO_PREFIX
    assert len(engine.greetings.silence) == 25


@pytest.mark.slow
async def test_a_recording_is_a_voice(engine: MoshiEngine, tmp_path: Path) -> None:
    times = np.arange(3 * 16_000) / 16_000
    soundfile.write(tmp_path / "me.wav", 0.1 * np.sin(2 * np.pi * 200 * times), 16_000)
    said = await call(engine, CallOverrides(voice=str(tmp_path / "me.wav")))
    assert said != await call(engine, CallOverrides())


@pytest.mark.slow
async def test_a_model_without_personas_refuses_them_before_it_is_loaded(tiny_checkpoint: Path) -> None:
    progress: list[str] = []
    engine = MoshiEngine(EngineOptions(model=str(tiny_checkpoint), persona=ANNA))
    with pytest.raises(EngineUnavailable, match="was not trained to take a persona; leave out --persona, or"):
        await engine.start(progress.append)
    engine = MoshiEngine(EngineOptions(model=str(tiny_checkpoint), voice="NATF2"))
    with pytest.raises(EngineUnavailable, match="has one voice, its own; leave out --voice NATF2, or take"):
        await engine.start(progress.append)
    assert not [line for line in progress if "Moshi takes about" in line]


async def test_a_call_waiting_for_its_prompt_does_not_use_the_model_thread(
    engine: MoshiEngine,
) -> None:
    loaded = engine._loaded
    assert loaded is not None
    gate = threading.Event()
    voices = loaded.prompts._load_voice

    def slow(voice: str) -> object:
        gate.wait(WAIT_S)
        return voices(voice)

    loaded.prompts._load_voice = slow  # type: ignore[assignment]
    try:
        session = engine.open_session(CallOverrides(persona="nono"))
        jobs = 0

        def count() -> None:
            nonlocal jobs
            jobs = len(loaded.thread._jobs)

        await asyncio.wrap_future(loaded.thread.call(count))
        assert jobs == 0, "nothing goes round in circles there"
        gate.set()
        assert len(await talk(session, 1)) == 1
        await session.close()
    finally:
        gate.set()
        loaded.prompts._load_voice = voices


@pytest.mark.slow
async def test_moshi_says_a_worded_greeting_too_and_takes_no_persona(tiny_checkpoint: Path) -> None:
    words = "dada bibi koko"
    engine = MoshiEngine(
        EngineOptions(model=str(tiny_checkpoint), seed=1, greeting=words), codec_limit_frames=3000
    )
    await engine.start(lambda _: None)
    try:
        session = engine.open_session()
        recorded = engine.greetings.default
        assert words in text_of(await talk(session, len(recorded), until_said=words))
        await session.close()
        assert engine.supported_overrides == {"greeting", "temperature"}
        with pytest.raises(
            RequestRefused, match="The engine moshi takes no persona for a call; leave it out"
        ):
            engine.open_session(CallOverrides(persona=ANNA))
        await until(lambda: engine.error is None, 60)  # the codecs of the first call are being cleaned
        await call(engine, CallOverrides(temperature=0.0))
    finally:
        await engine.stop()
