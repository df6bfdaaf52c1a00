"""Chosen words through a whole session: all of them, once, while the caller is heard."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest

from moshi_phone.engines.moshi.model.detokenizer import NEW_WORD_TOKEN, PADDING_TOKEN
from moshi_phone.engines.moshi.model.forced_text import ForcedTextScheduler, Word
from moshi_phone.engines.moshi.model.language_model import LanguageSession
from moshi_phone.engines.moshi.model.sampling import GREEDY, MoshiSampling
from moshi_phone.engines.moshi.model_thread import ModelThread
from tests.engines.moshi.surroundings import CARD, WAIT_S, Surroundings, frame, opening, tiny_thread
from tests.support.tiny_moshi import tiny_lm

STEPS = 40


@pytest.fixture(scope="module")
def thread() -> Iterator[ModelThread]:
    with tiny_thread() as thread:
        yield thread


async def texts(line: Surroundings, numbers: range) -> list[int]:
    """Let the caller speak; return the text tokens of the call meanwhile."""
    return [int(step.text) for step in await line.exchange(numbers)]


def words(said: list[int], count: int) -> list[int]:
    """Return the first tokens that are not padding: while words wait, the model adds none of its own."""
    return [token for token in said if token not in (NEW_WORD_TOKEN, PADDING_TOKEN)][:count]


async def test_says_every_word_once_in_order_and_hears_the_caller(thread: ModelThread) -> None:
    line = Surroundings(thread)
    await line.exchange(range(3))
    line.session.say("100,101 102")
    line.session.say("103,104,105")  # two in a row
    said = await texts(line, range(3, STEPS))
    assert words(said, 6) == [100, 101, 102, 103, 104, 105]
    assert line.session._language is not None
    assert (
        line.session._language.history.heard(STEPS - 1).tolist()
        == line.coder.encode(frame(STEPS - 1)).tolist()
    )
    await asyncio.wait_for(line.session.said(), WAIT_S)
    await line.session.close()


async def test_waiting_words_are_dropped_and_the_current_one_is_finished(thread: ModelThread) -> None:
    line = Surroundings(thread)
    line.session.say("100,101 102 103")
    said = list[int]()
    while 100 not in said:
        said += await texts(line, range(1))
    line.session.stop_saying()
    rest = await texts(line, range(STEPS))
    assert rest[0] == 101
    assert not {102, 103} & set(rest)
    await asyncio.wait_for(line.session.said(), WAIT_S)
    await line.session.close()


async def test_forcing_does_not_change_calls_without_forced_words(thread: ModelThread) -> None:
    """Finished forcing leaves no trace but its words, and no trace in calls without it."""
    plain, steered = Surroundings(thread), Surroundings(thread)
    assert await texts(steered, range(6)) == await texts(plain, range(6))
    steered.session.say("100")
    said = await texts(steered, range(6, 9))
    assert said[:2] == [PADDING_TOKEN] * 2
    assert said != await texts(plain, range(6, 9))
    await plain.session.close()
    await steered.session.close()


async def test_the_opening_is_said_before_queued_words(thread: ModelThread) -> None:
    prepared = opening(5)
    line = Surroundings(thread, prepared)
    line.session.say("100")
    said = await texts(line, range(STEPS))
    assert said[:5] == [part.text_token for part in prepared]
    assert words(said[5:], 1) == [100]
    await line.session.close()


async def test_the_end_of_a_call_releases_waiters(thread: ModelThread) -> None:
    line = Surroundings(thread)
    await line.exchange(range(2))
    line.session.say("100 101")
    waiting = asyncio.create_task(line.session.said())
    await asyncio.sleep(0)
    assert not waiting.done()
    await line.session.close()
    await asyncio.wait_for(waiting, WAIT_S)
    line.session.say("102")  # too late, and not worth an exception
    await asyncio.wait_for(line.session.said(), WAIT_S)


async def test_a_failing_call_releases_waiters(thread: ModelThread) -> None:
    line = Surroundings(thread)
    await line.exchange(range(1))
    line.session.say("100")
    assert line.session._language is not None
    line.session._language._hear = lambda *_: 1 // 0  # type: ignore[method-assign, assignment]
    line.session.feed(frame(1))
    await asyncio.wait_for(line.session.said(), WAIT_S)
    await line.session.close()


def test_the_model_chooses_the_steps_in_which_it_pads() -> None:
    """Forced tokens follow from sampled ones by Kyutai's rules, and the audio follows the forced ones."""
    model = tiny_lm(dim=32, layers=1, card=CARD, context=16)
    caller = np.random.default_rng(0).integers(0, CARD, (STEPS, 8)).astype(np.uint32)
    scheduler, mirror = ForcedTextScheduler(), ForcedTextScheduler()
    chosen = [Word((100, 101)), Word((102,)), Word((103, 104))]
    scheduler.say(chosen)
    mirror.say(chosen)
    drawn: list[int] = []

    def steer(token: int) -> int:
        drawn.append(token)
        return scheduler.decide(token)

    session = LanguageSession(model, MoshiSampling(), seed=1)
    steps = [session.step(tokens, steer=steer) for tokens in caller]
    assert [step.text_token for step in steps] == [mirror.decide(token) for token in drawn]

    # To be steered is to be forced, one draw later.
    forced = LanguageSession(model, MoshiSampling(), seed=1)
    for tokens, step in zip(caller, steps, strict=True):
        again = forced.step(tokens, force_text=step.text_token)
        assert again.audio_tokens is not None
        assert step.audio_tokens is not None
        assert again.audio_tokens.tolist() == step.audio_tokens.tolist()


def test_forcing_the_sampled_tokens_changes_nothing() -> None:
    model = tiny_lm(dim=32, layers=1, card=CARD, context=16)
    caller = np.random.default_rng(0).integers(0, CARD, (STEPS, 8)).astype(np.uint32)
    free, steered = LanguageSession(model, GREEDY, 0), LanguageSession(model, GREEDY, 0)
    for tokens in caller:
        one, other = free.step(tokens), steered.step(tokens, steer=lambda drawn: drawn)
        assert one.text_token == other.text_token
        assert one.audio_tokens is not None
        assert other.audio_tokens is not None
        assert one.audio_tokens.tolist() == other.audio_tokens.tolist()
