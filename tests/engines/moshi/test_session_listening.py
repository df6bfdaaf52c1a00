"""A call with transcription: words come with the steps, and Moshi's output does not change."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest

from moshi_phone.audio.formats import FRAME_MS, FRAME_SAMPLES, Pcm
from moshi_phone.engines.duplex import CallerText, DuplexStep
from moshi_phone.engines.moshi import session as session_module
from moshi_phone.engines.moshi.codec.codec import CODEBOOKS, LISTENING_CODEBOOKS
from moshi_phone.engines.moshi.model.token_history import Tokens
from moshi_phone.engines.moshi.model_thread import ModelThread
from moshi_phone.engines.moshi.stt.session import ListeningSession
from moshi_phone.engines.moshi.stt.worker import (
    WAITING_FRAMES,
    DoInSpareTime,
    MakeListener,
    TimedTranscript,
    TranscriptionWorker,
    listening_batch,
)
from moshi_phone.vendor.moshi_mlx.models.lm import Lm
from tests.engines.moshi.stt.test_session import listening_lm
from tests.engines.moshi.surroundings import CARD, WAIT_S, Coder, Pieces, Surroundings, tiny_thread, tokens_of
from tests.support.tiny_listening import HEADS

STEPS = 30
FINAL_SILENCE = [np.full(LISTENING_CODEBOOKS, 7, np.uint32)] * 19


class WideCoder(Coder):
    """Gives all codebooks of a frame, of which Moshi uses the first."""

    def encode(self, pcm: Pcm) -> Tokens:
        super().encode(pcm)
        return np.round(pcm[:LISTENING_CODEBOOKS] * CARD).astype(np.uint32)


def frame(number: int) -> Pcm:
    pcm = np.zeros(FRAME_SAMPLES, np.float32)
    pcm[:LISTENING_CODEBOOKS] = np.random.default_rng(number).integers(0, CARD, LISTENING_CODEBOOKS) / CARD
    return pcm


@pytest.fixture(scope="module")
def thread() -> Iterator[ModelThread]:
    with tiny_thread() as thread:
        yield thread


@pytest.fixture(scope="module")
def listening_model(thread: ModelThread) -> Lm:
    return thread.call(listening_lm).result(WAIT_S)


def make_listener(model: Lm) -> MakeListener:
    def make(do_in_spare_time: DoInSpareTime) -> TranscriptionWorker:
        words = TimedTranscript(Pieces(), audio_delay_s=0.5)  # type: ignore[arg-type]
        return TranscriptionWorker(
            partial(ListeningSession, model),
            words,
            do_in_spare_time,
            listening_batch(1),
            final_silence=FINAL_SILENCE,
        )

    return make


async def talk(line: Surroundings, steps: int = STEPS) -> list[DuplexStep]:
    said = []
    for number in range(steps):
        line.session.feed(frame(number))
        said.append(await line.step())
    return said


async def spare_time(line: Surroundings) -> None:
    passed = threading.Event()
    line.session._submit_spare(passed.set, lambda _: None)
    assert await asyncio.to_thread(passed.wait, WAIT_S)


async def test_listening_does_not_change_moshi_s_tokens(thread: ModelThread, listening_model: Lm) -> None:
    plain = Surroundings(thread, coder=Coder())
    listening = Surroundings(thread, coder=WideCoder(), make_listener=make_listener(listening_model))
    for one, other in zip(await talk(plain), await talk(listening), strict=True):
        assert tokens_of(one) == tokens_of(other)
        assert one.text == other.text
        assert one.caller_text == ()
    await plain.session.close()
    await listening.session.close()


async def test_the_caller_s_words_come_with_the_steps_and_their_own_time(
    thread: ModelThread, listening_model: Lm
) -> None:
    line = Surroundings(thread, coder=WideCoder(), make_listener=make_listener(listening_model))
    assert line.session._listener is not None
    line.session._listener._step_s = lambda: 0.0  # type: ignore[method-assign] # however slow this machine is
    steps = []
    for number in range(STEPS + 1):  # the last words come with the next step
        line.session.feed(frame(number))
        steps.append(await line.step())
        await spare_time(line)
    await line.session.close()

    def listen() -> list[CallerText]:
        session = ListeningSession(listening_model)
        tokens = [session.step(WideCoder().encode(frame(number))) for number in range(STEPS)]
        times_s = [max(0.0, (number + 1) * FRAME_MS / 1000 - 0.5) for number in range(STEPS)]
        return [CallerText(f" {token}", at_s) for token, at_s in zip(tokens, times_s, strict=True)]

    heard = [text for step in steps for text in step.caller_text]
    assert heard[:STEPS] == thread.call(listen).result(WAIT_S)
    assert len(steps[-1].pause_probabilities) == HEADS
    assert any("listen" in step.timings_ms for step in steps)
    assert line.session.untranscribed_frames == 0


async def test_no_word_is_lost_when_the_caller_hangs_up_after_the_last_one(
    thread: ModelThread, listening_model: Lm
) -> None:
    line = Surroundings(thread, coder=WideCoder(), make_listener=make_listener(listening_model))
    listener = line.session._listener
    assert listener is not None
    listener._step_s = lambda: 0.0  # type: ignore[method-assign] # however slow this machine is
    steps = []
    for number in range(STEPS):
        line.session.feed(frame(number))
        steps.append(await line.step())
        if number < STEPS - 5:  # the last ones wait
            await spare_time(line)
    line.session.feed(frame(STEPS))  # its step is not read
    last = await line.session.finish_listening()
    line.session.feed(frame(STEPS + 1))  # too late
    await line.session.close()

    def listen() -> list[str]:
        session, coder = ListeningSession(listening_model), WideCoder()
        frames = [coder.encode(frame(number)) for number in range(STEPS + 1)]
        return [f" {session.step(tokens)}" for tokens in (*frames, *FINAL_SILENCE)]

    carried = [text for step in steps for text in step.caller_text]
    assert len(carried) <= STEPS
    assert [piece.text for piece in (*carried, *last)] == thread.call(listen).result(WAIT_S)
    times_s = [piece.at_s for piece in (*carried, *last)]
    assert times_s == sorted(times_s)


@pytest.mark.parametrize(
    "why", ["no spare time", "not begun", "failed", "closed meanwhile", "hears no words"]
)
async def test_the_last_words_are_awaited_for_at_most_a_second(
    thread: ModelThread, listening_model: Lm, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "LAST_WORDS_SECS", 0.2)
    make = None if why == "hears no words" else make_listener(listening_model)
    line = Surroundings(thread, coder=WideCoder(), make_listener=make)
    if why == "no spare time":
        line.session._model_thread = Busy(thread, [])  # type: ignore[assignment]
    if why == "not begun":
        line.session._stages._begun = False
    else:
        await talk(line, 2)
    if why == "failed":
        line.session._fail("the model", RuntimeError("out of memory"))
    if why == "closed meanwhile":
        asyncio.get_running_loop().call_soon(lambda: asyncio.ensure_future(line.session.close()))
    last = await asyncio.wait_for(line.session.finish_listening(), 20)
    assert len(last) <= 2 + 19
    await line.session.close()


async def test_answers_do_not_wait_for_listening(thread: ModelThread, listening_model: Lm) -> None:
    """On a thread that never has spare time, every frame is answered, and listening skips frames."""
    line = Surroundings(thread, coder=WideCoder(), make_listener=make_listener(listening_model))
    held = list[object]()
    line.session._model_thread = Busy(thread, held)  # type: ignore[assignment]
    steps = await talk(line)
    assert len(steps) == STEPS
    assert all(step.caller_text == () for step in steps)
    assert len(held) == WAITING_FRAMES
    assert line.session.untranscribed_frames == STEPS - WAITING_FRAMES
    await line.session.close()


class Busy:
    """The model's thread without spare time."""

    def __init__(self, thread: ModelThread, held: list[object]) -> None:
        self._thread, self._held = thread, held

    def submit(self, job: object) -> None:
        if job.in_spare_time:  # type: ignore[attr-defined]
            self._held.append(job)
        else:
            self._thread.submit(job)  # type: ignore[arg-type]


def test_the_number_of_codebooks_is_that_of_the_models(listening_model: Lm) -> None:
    assert (CODEBOOKS, listening_model.cfg.audio_codebooks) == (8, LISTENING_CODEBOOKS)
