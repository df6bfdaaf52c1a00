"""The state machine that puts chosen words into the text stream, compared with Kyutai's."""

from __future__ import annotations

import numpy as np
import pytest
from moshi_mlx.models.tts import Entry, StateMachine, TokenIds
from sentencepiece import SentencePieceProcessor

from moshi_phone.commands.random_model import write_tiny_tokenizer
from moshi_phone.engines.moshi.model.forced_text import (
    MAX_WORDS,
    ForcedTextScheduler,
    Word,
    word_starts,
    words_of,
)

HELLO, THERE = Word((10, 11)), Word((12,))


def decisions(scheduler: ForcedTextScheduler, drawn: list[int]) -> list[int]:
    return [scheduler.decide(token) for token in drawn]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> SentencePieceProcessor:
    path = tmp_path_factory.mktemp("tokenizer") / "tiny.model"
    write_tiny_tokenizer(path, 200)
    return SentencePieceProcessor(model_file=str(path))


@pytest.mark.parametrize("seed", range(20))
def test_decides_as_kyutai_s_state_machine(seed: int) -> None:
    rng = np.random.default_rng(seed)
    words = [
        Word(tuple(rng.integers(4, 100, rng.integers(1, 5)).tolist()), int(rng.integers(0, 4)))
        for _ in range(12)
    ]
    machine = StateMachine(TokenIds(8001), max_padding=8, initial_padding=2)
    state = machine.new_state([Entry(list(word.pieces), "", word.padding_steps) for word in words])
    scheduler = ForcedTextScheduler()
    scheduler.say(words)
    steps = 0
    while scheduler.active:
        drawn = int(rng.choice([0, 3, 3, 3, 50]))
        assert scheduler.decide(drawn) == machine.process(steps, state, drawn)[0], f"step {steps}"
        steps += 1
    assert not state.entries
    assert not state.queued
    assert steps > 30


def test_the_model_chooses_the_moments() -> None:
    scheduler = ForcedTextScheduler()
    scheduler.say([HELLO, THERE])
    # Two forced, then the word; the model pads twice, then wants a word.
    assert decisions(scheduler, [0, 0, 3, 0, 0, 3, 3, 0, 3]) == [3, 3, 0, 10, 11, 3, 3, 0, 12]
    assert not scheduler.active
    assert decisions(scheduler, [50, 51]) == [50, 51], "after the last word the model is free"


def test_words_are_forced_into_a_model_that_only_pads() -> None:
    scheduler = ForcedTextScheduler(max_padding_steps=4)
    scheduler.say([HELLO, THERE])
    assert decisions(scheduler, [3] * 9) == [3, 3, 0, 10, 11, 3, 3, 0, 12]


def test_a_word_that_moshi_begins_without_a_pause_is_replaced_by_ours() -> None:
    scheduler = ForcedTextScheduler(frozenset({0, 50}))
    scheduler.say([HELLO, THERE])
    assert decisions(scheduler, [3, 3, 3, 3, 3, 50, 3]) == [3, 3, 0, 10, 11, 0, 12]


def test_nothing_is_lost_or_doubled_when_more_is_said_meanwhile() -> None:
    scheduler = ForcedTextScheduler()
    scheduler.say([HELLO])
    said = decisions(scheduler, [0] * 4)  # in the middle of the word
    scheduler.say([THERE])
    said += decisions(scheduler, [0] * 3)
    scheduler.say([HELLO])  # after the last: the beginning is padded again
    said += decisions(scheduler, [0] * 5)
    assert said == [3, 3, 0, 10, 11, 0, 12, 3, 3, 0, 10, 11]


def test_reports_when_the_last_word_has_been_played() -> None:
    scheduler = ForcedTextScheduler()
    assert scheduler.done
    scheduler.say([THERE])
    done = []
    for _ in range(8):
        scheduler.decide(3)
        done.append(scheduler.done)
    assert done == [False] * 7 + [True]


def test_refuses_too_many_words() -> None:
    scheduler = ForcedTextScheduler()
    scheduler.say([THERE] * MAX_WORDS)
    with pytest.raises(ValueError, match="expected at most 1000 words that wait to be said, got 1001"):
        scheduler.say([THERE])


def test_tokenizes_each_word_separately_as_kyutai_does(tokenizer: SentencePieceProcessor) -> None:
    words = words_of("Bad’ge (fo): lu", tokenizer)
    expected = [tokenizer.encode(word) for word in ("Bad'ge", "fo", "lu")]
    assert [list(word.pieces) for word in words] == [[id_ for id_ in ids if id_ > 3] for ids in expected]
    assert tokenizer.decode([id_ for word in words_of("fo lu", tokenizer) for id_ in word.pieces]) == "fo lu"
    with pytest.raises(ValueError, match="expected words to say, got 5 characters without any"):
        words_of(" : ()", tokenizer)


def test_recognizes_tokens_that_begin_a_word(tokenizer: SentencePieceProcessor) -> None:
    starts = word_starts(tokenizer)
    assert 0 in starts
    assert 3 not in starts
    assert {tokenizer.encode(word)[0] for word in ("fo", "lu", "bade")} <= starts


@pytest.mark.parametrize("text", ["half \ud83d a pair", "\udc00", "a" * 101])
def test_untokenizable_text_and_non_words_are_refused(text: str) -> None:
    """Half a surrogate pair was a 500; one word of 16 kB would have taken minutes."""
    with pytest.raises(ValueError, match="expected"):
        words_of(text, None)  # the tokenizer is not called
