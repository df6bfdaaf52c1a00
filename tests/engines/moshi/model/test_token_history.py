"""The position of each token, checked against the definition of the delays."""

from __future__ import annotations

import numpy as np

from moshi_phone.engines.moshi.model.detokenizer import PADDING_TOKEN
from moshi_phone.engines.moshi.model.token_history import NO_PREFIX, TokenHistory, silent_prefix

TEXT_START, AUDIO_START = 1000, 2000


def history(delays: list[int]) -> TokenHistory:
    return TokenHistory(delays, len(delays) // 2, text_start=TEXT_START, audio_start=AUDIO_START)


def frame(time: int, codebooks: int = 2) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    return np.array([10 * time + codebook for codebook in range(codebooks)], np.uint32)


def generated(position: int, codebooks: int = 2) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return np.array([500 + position, *[100 * position + c for c in range(codebooks)]], np.int32)


def test_start_tokens_come_first() -> None:
    assert history([0, 1, 0, 1]).inputs(0).tolist() == [TEXT_START] + [AUDIO_START] * 4


def test_a_caller_s_first_codebook_is_read_at_once_and_the_others_one_position_later() -> None:
    tokens = history([0, 1, 0, 1])
    tokens.say(0, generated(0))
    for time in range(20):
        tokens.hear(time, frame(time))
        position = time + 1
        earlier = 10 * (time - 1) + 1 if time else AUDIO_START
        own = [100 * time, 100 * time + 1 if time else AUDIO_START]
        assert tokens.inputs(position).tolist() == [500 + time, *own, 10 * time, earlier]
        tokens.say(position, generated(position))
        # Codebook 0 of this time was drawn one position ago, codebook 1 just now.
        assert tokens.spoken(position) is not None
        assert tokens.spoken(position).tolist() == [100 * time, 100 * position + 1]  # type: ignore[union-attr]


def test_no_output_before_the_longest_delay() -> None:
    tokens = history([0, 2, 0, 2])
    for position in range(5):
        tokens.say(position, generated(position))
        spoken = tokens.spoken(position)
        expected = None if position < 2 else [100 * (position - 2), 100 * position + 1]
        assert (None if spoken is None else spoken.tolist()) == expected


def test_a_forced_frame_replaces_the_sampled_one() -> None:
    tokens = history([0, 1, 0, 1])
    tokens.say(0, generated(0))
    for time in range(12):
        tokens.hear(time, frame(time))
        if time % 3 == 0:
            tokens.force(time, np.array([7, 8], np.uint32))
        position = time + 1
        assert tokens.fixed(position) == ([None, 8] if time % 3 == 0 else [None, None])
        assert tokens.inputs(position)[1] == (7 if time % 3 == 0 else 100 * time)
        tokens.say(position, generated(position))
        expected = [7, 8] if time % 3 == 0 else [100 * time, 100 * position + 1]
        assert tokens.spoken(position).tolist() == expected  # type: ignore[union-attr]


def test_the_caller_s_recent_frames_are_kept() -> None:
    tokens = history([0, 1, 0, 1])
    tokens.hear(3, frame(3))
    assert tokens.heard(3).tolist() == frame(3).tolist()


def test_a_silent_prefix_is_silent_for_its_length() -> None:
    silence = np.arange(8, dtype=np.uint32)
    prefix = silent_prefix(3, silence)
    assert [frame.text_token for frame in prefix] == [PADDING_TOKEN] * 3
    assert all(frame.audio_tokens is silence for frame in prefix)
    assert silent_prefix(0, silence) == NO_PREFIX
