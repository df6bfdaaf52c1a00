from __future__ import annotations

from pipecat.frames.frames import (
    Frame,
    InterimTranscriptionFrame,
    LLMFullResponseEndFrame,
    TranscriptionFrame,
    TTSTextFrame,
)
from pipecat.utils.text.base_text_aggregator import TextType

from moshi_phone.engines.duplex import CallerText
from processors.phrase_watch import PhraseWatch
from processors.words import CALLER


def caller(*pieces: str) -> Frame:
    frame = InterimTranscriptionFrame("".join(pieces), CALLER, "")
    frame.result = tuple(CallerText(piece, 0.0) for piece in pieces)
    return frame


def bot(text: str) -> Frame:
    return TTSTextFrame(text, text_type=TextType.TOKEN)


def test_what_the_caller_says_acts_once() -> None:
    done: list[str] = []
    watch = PhraseWatch(["a human"], done.append, by_both=False)
    watch.observe(bot(" I am no human, a human. "))
    assert done == []
    watch.observe(caller(" Give me a", " human"))
    watch.observe(TranscriptionFrame("Give me a human", CALLER, ""))
    watch.observe(caller(" a human."))
    watch.close()
    assert done == ["the caller asked for it"]


def test_goodbye_takes_both() -> None:
    done: list[str] = []
    watch = PhraseWatch(["goodbye", "bye"], done.append, by_both=True)
    watch.observe(caller(" Goodbye."))
    watch.observe(caller(" Goodbye."))
    assert done == []
    watch.observe(bot(" Bye"))
    assert done == []
    watch.observe(bot("."))
    assert done == ["both said goodbye"]


def test_a_pause_ends_what_the_bot_said_as_well() -> None:
    done: list[str] = []
    watch = PhraseWatch(["goodbye"], done.append, by_both=True)
    watch.observe(caller(" Goodbye."))
    watch.observe(bot(" Goodbye"))
    assert done == []
    watch.observe(LLMFullResponseEndFrame())
    assert done == ["both said goodbye"]


def test_another_recognizer_s_sentences() -> None:
    done: list[str] = []
    PhraseWatch(["a human"], done.append, by_both=False).observe(TranscriptionFrame("a human", "x", ""))
    assert done == ["the caller asked for it"]
