from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipecat.frames.frames import (
    Frame,
    InterimTranscriptionFrame,
    LLMFullResponseEndFrame,
    TranscriptionFrame,
    TTSTextFrame,
)
from pipecat.utils.text.base_text_aggregator import TextType

from moshi_phone.engines.duplex import CallerText
from processors.phrase_trigger import MAX_CHARS, PhraseMatcher, PhraseTrigger, words_of
from processors.transcription_frames import CALLER


def caller(*pieces: str) -> Frame:
    frame = InterimTranscriptionFrame("".join(pieces), CALLER, "")
    frame.result = tuple(CallerText(piece, 0.0) for piece in pieces)
    return frame


def bot(text: str) -> Frame:
    return TTSTextFrame(text, text_type=TextType.TOKEN)


def test_a_caller_s_phrase_triggers_once() -> None:
    done: list[str] = []
    watch = PhraseTrigger(["a human"], done.append, by_both=False)
    watch.observe(bot(" I am no human, a human. "))
    assert done == []
    watch.observe(caller(" Give me a", " human"))
    watch.observe(TranscriptionFrame("Give me a human", CALLER, ""))
    watch.observe(caller(" a human."))
    watch.close()
    assert done == ["the caller asked for it"]


def test_goodbye_must_be_said_by_both() -> None:
    done: list[str] = []
    watch = PhraseTrigger(["goodbye", "bye"], done.append, by_both=True)
    watch.observe(caller(" Goodbye."))
    watch.observe(caller(" Goodbye."))
    assert done == []
    watch.observe(bot(" Bye"))
    assert done == []
    watch.observe(bot("."))
    assert done == ["both said goodbye"]


def test_a_pause_ends_the_bot_s_words_too() -> None:
    done: list[str] = []
    watch = PhraseTrigger(["goodbye"], done.append, by_both=True)
    watch.observe(caller(" Goodbye."))
    watch.observe(bot(" Goodbye"))
    assert done == []
    watch.observe(LLMFullResponseEndFrame())
    assert done == ["both said goodbye"]


def test_another_recognizer_s_sentences() -> None:
    done: list[str] = []
    PhraseTrigger(["a human"], done.append, by_both=False).observe(TranscriptionFrame("a human", "x", ""))
    assert done == ["the caller asked for it"]


PHRASES = ["speak to a human", "Operator!"]


def heard(*pieces: str) -> list[bool]:
    matcher = PhraseMatcher(PHRASES)
    return [matcher.hear(piece) for piece in pieces]


def test_punctuation_and_case_are_ignored() -> None:
    assert words_of(" I'd like, please: Zürich’s — 42.") == ["i'd", "like", "please", "zürich's", "42"]


def test_a_phrase_in_pieces_is_found_after_its_last_word() -> None:
    assert heard(" Could I", " sp", "eak", " to a", " hu", "man", " please") == [False] * 6 + [True]
    assert heard(" Speak, to A human.") == [True]
    assert heard(" operator", ",") == [False, True]


def test_a_pause_ends_a_word() -> None:
    matcher = PhraseMatcher(PHRASES)
    assert not matcher.hear(" operator")
    assert matcher.pause()
    assert not matcher.pause(), "it is told once"


@pytest.mark.parametrize("said", [" speak to a humanist.", " speak to some human.", " cooperator.", ""])
def test_other_words_do_not_trigger(said: str) -> None:
    assert heard(said) == [False]


def test_without_phrases_nothing_triggers() -> None:
    matcher = PhraseMatcher(["", "…"])
    assert not matcher.hear(" … anything at all.")


@given(st.lists(st.sampled_from([" so", " what", "ever", ".", " to a human", " speak"]), max_size=60))
def test_memory_is_bounded_and_the_phrase_is_still_found(pieces: list[str]) -> None:
    matcher = PhraseMatcher(PHRASES)
    for piece in pieces:
        matcher.hear(piece)
    assert len(words_of(matcher._text)) <= 40
    matcher.hear(" well")
    assert matcher.hear(" speak to a human.")


@pytest.mark.parametrize("piece", ["ha-", "...", "ha-" * 1_000])
def test_memory_is_bounded_without_a_blank(piece: str) -> None:
    matcher = PhraseMatcher(["a human"])
    assert not any(matcher.hear(piece) for _ in range(1_000))
    assert len(matcher._text) <= 2 * MAX_CHARS
    assert matcher.hear(" a human.")
