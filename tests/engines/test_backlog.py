from __future__ import annotations

import numpy as np
import pytest

from moshi_phone.audio.formats import FRAME_SAMPLES, Pcm
from moshi_phone.audio.silence import SILENCE_RMS, is_silent
from moshi_phone.engines.backlog import Backlog


def loud(number: int) -> Pcm:
    return np.full(FRAME_SAMPLES, 0.1 + number / 1000, np.float32)


def quiet(number: int) -> Pcm:
    return np.full(FRAME_SAMPLES, number / 100_000, np.float32)


def test_silence_is_below_minus_45_dbfs() -> None:
    assert is_silent(np.zeros(FRAME_SAMPLES, np.float32))
    assert is_silent(np.full(FRAME_SAMPLES, 0.99 * SILENCE_RMS, np.float32))
    assert not is_silent(np.full(FRAME_SAMPLES, 1.01 * SILENCE_RMS, np.float32))


def test_frames_are_taken_in_order_and_counted_until_answered() -> None:
    backlog = Backlog()
    backlog.push(loud(1))
    backlog.push(loud(2))
    assert (backlog.frames, backlog.waiting_frames, backlog.taken_frames) == (2, 2, 0)
    assert backlog.take() is not None
    assert (backlog.frames, backlog.waiting_frames, backlog.taken_frames) == (2, 1, 1)
    backlog.answered()
    assert (backlog.frames, backlog.waiting_frames, backlog.taken_frames) == (1, 1, 0)


def test_the_oldest_is_dropped_above_the_limit() -> None:
    backlog = Backlog(3)
    for number in range(5):
        backlog.push(loud(number))
    assert (backlog.frames, backlog.dropped_frames) == (3, 2)
    assert [backlog.take()[0] for _ in range(3)] == [loud(number)[0] for number in (2, 3, 4)]


def test_silent_frames_are_dropped_first() -> None:
    backlog = Backlog(4)
    frames = [loud(0), quiet(1), loud(2), quiet(3)]
    for frame in frames:
        backlog.push(frame)
    for number in (4, 5, 6):
        backlog.push(loud(number))
    # Dropped in this order: the silent 1 and 3, then the oldest of the rest.
    assert backlog.dropped_frames == 3
    assert [backlog.take()[0] for _ in range(4)] == [loud(number)[0] for number in (2, 4, 5, 6)]


def test_taken_frames_are_not_dropped() -> None:
    backlog = Backlog(2)
    backlog.push(loud(0))
    backlog.push(loud(1))
    backlog.take()
    backlog.take()
    backlog.push(loud(2))
    assert (backlog.frames, backlog.waiting_frames, backlog.dropped_frames) == (2, 0, 1)


def test_an_answer_without_a_frame_is_an_error() -> None:
    with pytest.raises(ValueError, match="got an answer to none"):
        Backlog().answered()
    with pytest.raises(IndexError):
        Backlog().take()
