"""The three stages of a call, with the tiny model and an instant codec."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest

from moshi_phone.audio.formats import FRAME_SAMPLES
from moshi_phone.engines.duplex import EngineFailed
from moshi_phone.engines.moshi.codec.codec_stages import STAGES
from moshi_phone.engines.moshi.model.language_model import LanguageSession
from moshi_phone.engines.moshi.model.sampling import MoshiSampling
from moshi_phone.engines.moshi.model_thread import ModelThread
from moshi_phone.engines.step_queue import UNREAD_STEPS
from tests.engines.moshi.surroundings import (
    WAIT_S,
    Surroundings,
    frame,
    opening,
    tiny_thread,
    tokens_of,
)


@pytest.fixture(scope="module")
def thread() -> Iterator[ModelThread]:
    with tiny_thread() as thread:
        yield thread


async def test_answers_every_frame_with_one_step_in_order(thread: ModelThread) -> None:
    line = Surroundings(thread)
    steps = await line.exchange(range(8))
    await line.session.close()
    language = thread.call(line.open_language).result(WAIT_S)
    for number, step in enumerate(steps):
        said = thread.call(partial(language.step, line.coder.encode(frame(number)))).result(WAIT_S)
        assert said.audio_tokens is not None
        assert tokens_of(step) == said.audio_tokens.tolist()
        assert step.text == f" {said.text_token}"
        assert list(step.timings_ms) == ["encode", "language", "decode"]
        assert all(value >= 0 for value in step.timings_ms.values())


async def test_the_temperature_changes_during_the_call(thread: ModelThread) -> None:
    line = Surroundings(thread)
    session = line.session
    session.set_temperature(0.0)  # the conversation may not have begun yet
    await line.exchange(range(2))
    assert session._language is not None
    assert session._language._noise.sampling.audio.temperature == 0.0
    session.set_temperature(0.5)
    await line.exchange(range(2, 4))
    assert session._language._noise.sampling.text.temperature == 0.5
    with pytest.raises(ValueError, match="expected a temperature of 0 or more, got -1"):
        session.set_temperature(-1)
    await session.close()


async def test_the_caller_is_heard_during_the_opening(thread: ModelThread) -> None:
    prepared = opening(5)
    line = Surroundings(thread, prepared)
    steps = await line.exchange(range(9))
    assert line.session._language is not None
    heard = line.session._language.history.heard(8)
    await line.session.close()
    assert [tokens_of(step) for step in steps[:5]] == [part.audio_tokens.tolist() for part in prepared]
    assert heard.tolist() == line.coder.encode(frame(8)).tolist()

    # The words after it are those of a session that was given the same, step by step.
    language = thread.call(partial(LanguageSession, thread.model, MoshiSampling(), 3)).result(WAIT_S)  # type: ignore[attr-defined]
    for number, step in enumerate(steps):
        step_it = partial(language.step, line.coder.encode(frame(number)))
        if number < 5:
            part = prepared[number]
            step_it = partial(step_it, force_text=part.text_token, force_audio=part.audio_tokens)
        said = thread.call(step_it).result(WAIT_S)
        assert said.audio_tokens is not None
        assert (tokens_of(step), step.text) == (said.audio_tokens.tolist(), f" {said.text_token}")
        if number < 5:
            np.testing.assert_array_equal(
                language.history.heard(number),
                line.coder.encode(frame(number)),
                "unheard during the greeting",
            )


async def test_the_caller_s_words_during_the_opening_affect_the_answer(thread: ModelThread) -> None:
    after = []
    for first in (0, 100):
        line = Surroundings(thread, opening(5))
        await line.exchange(range(first, first + 5))
        after.append([tokens_of(step) for step in await line.exchange(range(5, 10))])
        await line.session.close()
    assert after[0] != after[1]


async def test_an_opening_adds_no_lasting_delay(thread: ModelThread) -> None:
    """After 10 s, as much has been said as heard, with an opening and without."""
    leads_frames = []
    for prepared in ((), opening(25)):
        line = Surroundings(thread, prepared)
        said_frames = len(await line.exchange(range(125)))
        leads_frames.append((said_frames - 125, line.session.backlog_frames, line.session.dropped_frames))
        await line.session.close()
    assert leads_frames == [(0, 0, 0), (0, 0, 0)]


async def test_a_stall_drops_frames_and_leaves_no_backlog(thread: ModelThread) -> None:
    line = Surroundings(thread)
    await line.exchange(range(2))
    line.coder.open.clear()
    for number in range(20):
        line.session.feed(frame(number))
    assert line.session.backlog_frames == 5
    assert line.session.dropped_frames == 15
    line.coder.open.set()
    for _ in range(5):
        await line.step()
    assert line.session.backlog_frames == 0
    await line.session.close()


async def test_no_more_frames_than_stages_are_in_flight(thread: ModelThread) -> None:
    line = Surroundings(thread)
    blocked = threading.Event()
    thread.call(partial(blocked.wait, WAIT_S))
    for number in range(5):
        line.session.feed(frame(number))
    for _ in range(STAGES):
        assert await asyncio.to_thread(line.coder.entered.acquire, timeout=WAIT_S)
    assert not line.coder.entered.acquire(blocking=False)
    blocked.set()
    for _ in range(5):
        await line.step()
    await line.session.close()


async def test_unread_steps_are_bounded(thread: ModelThread) -> None:
    line = Surroundings(thread)
    fed = UNREAD_STEPS + 10
    for number in range(fed):
        line.session.feed(frame(number))
        while line.session._stages._backlog.frames:  # noqa: ASYNC110 - there is no event for unread steps
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert line.session.backlog_frames == len(line.session._steps) == UNREAD_STEPS
    await line.session.close()


async def test_a_model_error_ends_the_call_after_earlier_steps(thread: ModelThread) -> None:
    line = Surroundings(thread)
    await line.exchange(range(2))
    assert line.session._language is not None
    line.session._language._hear = lambda *_: 1 // 0  # type: ignore[method-assign, assignment]
    line.session.feed(frame(2))
    with pytest.raises(EngineFailed, match=r"This call ended because the model failed: .*zero"):
        await line.step()
    assert len(line.owner.reasons) == 1
    line.session.feed(frame(3))  # too late, and not worth an exception
    await line.session.close()
    assert line.owner.lost == [0]
    assert line.coder.released == 2


async def test_a_codec_error_ends_the_call(thread: ModelThread) -> None:
    line = Surroundings(thread)
    line.coder.decode = lambda _: 1 // 0  # type: ignore[method-assign, assignment, return-value]
    line.session.feed(frame(0))
    with pytest.raises(EngineFailed, match="because the decoder failed"):
        await line.step()
    await line.session.close()
    assert line.coder.released == 2


async def test_closing_during_a_step_ends_the_outputs_and_frees_the_memory(thread: ModelThread) -> None:
    line = Surroundings(thread)
    await line.exchange(range(1))
    line.coder.open.clear()
    line.session.feed(frame(1))
    reader = asyncio.create_task(line.step())
    await asyncio.to_thread(line.coder.entered.acquire, timeout=WAIT_S)
    closing = asyncio.create_task(line.session.close())
    with pytest.raises(StopAsyncIteration):
        await reader
    line.coder.open.set()
    await closing
    await line.session.close()
    assert line.owner.lost == [0]
    assert line.coder.released == 2
    thread.call(lambda: None).result(WAIT_S)
    assert line.session._language is not None
    assert line.session._language._rings is None


async def test_a_hanging_codec_is_reported_as_lost(thread: ModelThread) -> None:
    line = Surroundings(thread)
    line.coder.open.clear()
    line.session.feed(frame(0))
    await asyncio.to_thread(line.coder.entered.acquire, timeout=WAIT_S)
    await line.session.close()
    assert line.owner.lost == [1]
    line.coder.open.set()


async def test_invalid_frames_are_rejected(thread: ModelThread) -> None:
    line = Surroundings(thread)
    with pytest.raises(ValueError, match=r"expected float32 \[1920\], got float64 \[1920\]"):
        line.session.feed(np.zeros(FRAME_SAMPLES))  # type: ignore[arg-type]
    await line.session.close()
