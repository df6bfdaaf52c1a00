from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from moshi_phone.records.timeline import Timeline

FRAME_S = 0.08


def noise(seed: int, samples: int) -> NDArray[np.int16]:
    return np.random.default_rng(seed).integers(-3_000, 3_000, samples).astype(np.int16)


def test_memory_is_bounded_by_the_unplayed_audio() -> None:
    timeline = Timeline()
    for k in range(1000):
        timeline.said(noise(k, 640), (k + 1) * FRAME_S)
        timeline.heard(noise(k, 640), (k + 1) * FRAME_S)
        assert len(timeline._bot) <= 2


def test_unplayed_audio_is_not_in_the_recording() -> None:
    timeline = Timeline()
    timeline.said(noise(1, 640), 0.08)
    for k in range(10):
        timeline.heard(noise(k, 640), 0.08)
    assert len(timeline.rest(0.13)) == 400


def test_a_bot_that_speaks_first_starts_the_recording() -> None:
    timeline = Timeline()
    timeline.heard(np.full(640, -3, np.int16), 5.0)
    both = timeline.said(noise(1, 640), 5.08)
    assert (both[:, 1] == -3).all()


def test_both_sides_stay_aligned_for_an_hour_of_clock_skew() -> None:
    """At half a percent, the bot's side used to drift by 18 s."""
    for fast in (0.005, -0.005):
        timeline = Timeline()
        silence, word = np.zeros(640, np.int16), np.full(640, 1_000, np.int16)
        for frame in range(45_000):
            now_s = (frame + 1) * FRAME_S / (1 + fast)
            both = timeline.said(silence, now_s)
            timeline.heard(word if frame == 44_995 else silence, now_s)
            if frame >= 44_995 and both[:, 1].any():
                break
        assert frame in (44_996, 44_997)


def test_jitter_does_not_shift_the_sides_against_each_other() -> None:
    """They used to shift by 0.5 to 6 ms, twice in the first second and occasionally later."""
    rng, timeline, starts = np.random.default_rng(1), Timeline(), list[int]()
    for frame in range(250):
        now_s = (frame + 1) * FRAME_S + rng.uniform(0, 0.02)
        timeline.said(noise(1, 640), now_s)
        timeline.heard(noise(2, 640), now_s + 0.03)
        starts.append(timeline._bot_end - 640 * (frame + 1))
    assert len(set(starts[12:])) == 1  # from the second second on


def test_a_stall_is_recorded_as_silence_of_the_bot() -> None:
    timeline, word = Timeline(), np.full(640, 1_000, np.int16)
    both = list[NDArray[np.int16]]()
    for frame in range(8):
        now_s = (frame + 1) * FRAME_S
        both.append(timeline.said(noise(1, 640), now_s))
        timeline.heard(word, now_s + (0.05 if frame < 4 else 0.15))
    bot = np.concatenate(both)[:, 1]
    assert (bot == 0).sum() == 640 + 400 + 800  # a frame, the engine's time, and the stall
