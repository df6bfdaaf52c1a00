"""What counts as a greeting, and where it begins."""

from __future__ import annotations

import numpy as np
import pytest

from moshi_phone.audio.formats import FRAME_SAMPLES
from moshi_phone.engines.moshi.greeting import TAKES, Take, make_greeting, trim
from moshi_phone.engines.moshi.model.forced_prefix import NO_PREFIX, PrefixFrame, silent_prefix
from moshi_phone.engines.moshi.model.text_tokens import PADDING_TOKEN

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


def test_the_cut_keeps_a_word_that_was_put_into_words_before_it_sounds() -> None:
    pad = PADDING_TOKEN
    assert begins_at(take([pad, WORD, pad, pad, pad, pad], [False] * 3 + [True] * 3)) == 1


def test_a_take_without_speech_is_no_greeting() -> None:
    pad = PADDING_TOKEN
    assert trim(take([WORD] * 6, [False] * 6)) is None
    assert trim(take([WORD] * 6, [True, True, False, False, False, False])) is None, "a click"
    assert trim(take([pad, 0, 1, 2, pad, pad], [True] * 6)) is None, "sound without words"


def test_makes_another_take_with_the_next_seed() -> None:
    seeds, lines = list[int](), list[str]()

    def record(seed: int) -> Take:
        seeds.append(seed)
        return take([WORD] * 6, [seed == 12] * 6)

    assert len(make_greeting(record, 10, lines.append)) == 6
    assert seeds == [10, 11, 12]
    assert len(lines) == 2
    assert "seed 10 has no speech" in lines[0]


def test_gives_up_after_some_takes() -> None:
    lines = list[str]()
    assert make_greeting(lambda _: take([3] * 6, [False] * 6), 0, lines.append) == NO_PREFIX
    assert len(lines) == TAKES + 1
    assert "begin without" in lines[-1]


def test_tokens_and_sound_must_be_of_one_length() -> None:
    with pytest.raises(ValueError, match=r"expected \[2, 1920\], got \[1, 1920\]"):
        Take(silent_prefix(2, np.zeros(8, np.uint32)), np.zeros((1, FRAME_SAMPLES), np.float32))
