from __future__ import annotations

import numpy as np

from moshi_phone.audio.playout_control import PlayoutControl

SILENCE = np.zeros(640, np.int16)


def test_marks_come_with_each_frame_at_first_and_then_once_a_second() -> None:
    playout = PlayoutControl()
    marks = [playout.mark_if_due(frame * 0.08) for frame in range(125)]
    names = [mark for mark in marks if mark is not None]
    assert marks[:12] == names[:12]
    assert len(names) == 12 + 9
    assert len(set(names)) == len(names)


def test_a_clock_that_is_half_a_percent_fast_is_trimmed_by_nothing_once_it_is_known() -> None:
    """Of 3 s that it drifts in ten minutes, the trimmer took all, before."""
    playout = PlayoutControl()
    for frame in range(7_500):
        playout.send(SILENCE, frame * 0.08 / 1.005)
    assert playout.trimmer.trimmed_ms <= 80


def test_a_clock_that_is_half_a_percent_slow_has_no_underruns_once_it_is_known() -> None:
    playout = PlayoutControl()
    for frame in range(7_500):
        playout.send(SILENCE, frame * 0.08 / 0.995)
    assert playout.clock.underrun_ms <= 80
