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


def test_a_known_fast_clock_needs_no_trimming() -> None:
    """It is fast by half a percent: 3 s in ten minutes, all of which used to be trimmed."""
    playout = PlayoutControl()
    for frame in range(7_500):
        playout.send(SILENCE, frame * 0.08 / 1.005)
    assert playout.trimmer.trimmed_ms <= 80


def test_a_known_slow_clock_causes_no_underruns() -> None:
    playout = PlayoutControl()
    for frame in range(7_500):
        playout.send(SILENCE, frame * 0.08 / 0.995)
    assert playout.clock.underrun_ms <= 80
