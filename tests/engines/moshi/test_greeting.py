"""What counts as a greeting, and where it starts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sentencepiece import SentencePieceProcessor

from moshi_phone.audio.formats import FRAME_SAMPLES
from moshi_phone.commands.random_model import write_tiny_tokenizer
from moshi_phone.engines.duplex import EngineUnavailable
from moshi_phone.engines.moshi.codec.call_codecs import CallCodecs
from moshi_phone.engines.moshi.greeting import TAKES, GreetingRecorder, Take, make_greeting, trim
from moshi_phone.engines.moshi.model.detokenizer import PADDING_TOKEN
from moshi_phone.engines.moshi.model.sampling import GREEDY
from moshi_phone.engines.moshi.model.token_history import NO_PREFIX, PrefixFrame, silent_prefix
from moshi_phone.engines.options import NONE, SILENCE, EngineOptions
from tests.support.tiny_moshi import tiny_lm

WORD = 77


def take(texts: list[int], audible: list[bool]) -> Take:
    frames = tuple(PrefixFrame(text, np.full(8, at, np.uint32)) for at, text in enumerate(texts))
    return Take(frames, np.array([np.full(FRAME_SAMPLES, 0.1 * sound) for sound in audible], np.float32))


def begins_at(recorded: Take) -> int:
    opening = trim(recorded)
    assert opening is not None
    assert opening == recorded.prefix[-len(opening) :]
    return len(recorded.prefix) - len(opening)


def test_leading_silence_is_cut_to_one_frame() -> None:
    pad = PADDING_TOKEN
    assert begins_at(take([pad] * 4 + [WORD] * 4, [False] * 4 + [True] * 4)) == 3
    assert begins_at(take([WORD] * 8, [True] * 8)) == 0


def test_trimming_keeps_a_word_whose_text_precedes_its_sound() -> None:
    pad = PADDING_TOKEN
    assert begins_at(take([pad, WORD, pad, pad, pad, pad], [False] * 3 + [True] * 3)) == 1


def test_a_take_without_speech_is_rejected() -> None:
    pad = PADDING_TOKEN
    assert trim(take([WORD] * 6, [False] * 6)) is None
    assert trim(take([WORD] * 6, [True, True, False, False, False, False])) is None, "a click"
    assert trim(take([pad, 0, 1, 2, pad, pad], [True] * 6)) is None, "sound without words"


def test_a_rejected_take_is_repeated_with_the_next_seed() -> None:
    seeds, lines = list[int](), list[str]()

    def record(seed: int) -> Take:
        seeds.append(seed)
        return take([WORD] * 6, [seed == 12] * 6)

    assert len(make_greeting(record, 10, lines.append)) == 6
    assert seeds == [10, 11, 12]
    assert len(lines) == 2
    assert "seed 10 has no speech" in lines[0]


def test_recording_stops_after_several_takes() -> None:
    lines = list[str]()
    assert make_greeting(lambda _: take([3] * 6, [False] * 6), 0, lines.append) == NO_PREFIX
    assert len(lines) == TAKES + 1
    assert "begin without" in lines[-1]


def test_tokens_and_sound_must_be_of_one_length() -> None:
    with pytest.raises(ValueError, match=r"expected \[2, 1920\], got \[1, 1920\]"):
        Take(silent_prefix(2, np.zeros(8, np.uint32)), np.zeros((1, FRAME_SAMPLES), np.float32))


@pytest.fixture(scope="module")
def codecs(mimi_file: Path) -> CallCodecs:
    codecs = CallCodecs.for_calls(mimi_file, 1)
    codecs.fill()
    return codecs


def recorder(codecs: CallCodecs, folder: Path, **options: object) -> GreetingRecorder:
    write_tiny_tokenizer(folder / "tiny.model", 100)
    return GreetingRecorder(
        EngineOptions(seed=1, **options),  # type: ignore[arg-type]
        tiny_lm(dim=64),
        GREEDY,
        codecs,
        SentencePieceProcessor(str(folder / "tiny.model")),
        lambda: None,
    )


@pytest.mark.slow
@pytest.mark.parametrize("greeting", [NONE, SILENCE])
def test_silence_is_always_recorded_because_a_call_may_request_it(
    codecs: CallCodecs, tmp_path: Path, greeting: str
) -> None:
    made = recorder(codecs, tmp_path, greeting=greeting, greeting_frames=4).record(None, lambda _: None)
    assert [frame.text_token for frame in made.silence] == [PADDING_TOKEN] * 4
    assert made.default == (made.silence if greeting == SILENCE else NO_PREFIX)


def test_unpronounceable_words_prevent_the_start(codecs: CallCodecs, tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="--greeting cannot be said"):
        recorder(codecs, tmp_path, greeting="()").record(None, lambda _: None)


def test_a_stop_interrupts_the_recording(codecs: CallCodecs, tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop() -> None:
        raise Stopped

    asked = recorder(codecs, tmp_path)
    with pytest.raises(Stopped):
        GreetingRecorder(asked.options, asked.model, asked.sampling, codecs, asked.tokenizer, stop).record(
            None, lambda _: None
        )
    assert codecs.is_ready  # its codec is returned
