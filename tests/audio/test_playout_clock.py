from __future__ import annotations

import pytest

from audio.playout_clock import PlayoutClock


def test_the_lead_is_what_was_sent_and_not_played() -> None:
    clock = PlayoutClock(8_000)
    assert clock.lead_ms(5.0) == 0
    clock.sent(640, 5.0)
    assert clock.lead_ms(5.0) == pytest.approx(80)
    assert clock.lead_ms(5.05) == pytest.approx(30)
    clock.sent(640, 5.05)
    assert clock.lead_ms(5.05) == pytest.approx(110)
    assert clock.lead_ms(9) == 0
    assert clock.underruns == 0


def test_a_dry_buffer_is_a_gap_once() -> None:
    clock = PlayoutClock(8_000)
    clock.sent(640, 0.0)
    clock.sent(640, 0.5)
    clock.sent(640, 0.58)
    assert clock.underruns == 1
    assert clock.underrun_ms == pytest.approx(420)
    assert clock.lead_ms(0.58) == pytest.approx(80)


def play(clock: PlayoutClock, second: int, late_s: float) -> None:
    """Send one second in frames of 80 ms, mark it, and let the echo come ``late_s`` after its time."""
    for frame in range(25):
        clock.sent(640, second * 2 + frame * 0.08)
    clock.marked(f"m{second}", second * 2 + 24 * 0.08)
    clock.echoed(f"m{second}", (second + 1) * 2 + late_s)


def test_echoes_as_late_as_ever_change_nothing() -> None:
    clock = PlayoutClock(8_000)
    for second in range(20):
        play(clock, second, 0.065 + 0.004 * (second % 3))
    assert clock.lead_ms(40.0) == pytest.approx(0, abs=1)


def test_one_late_echo_is_jitter() -> None:
    clock = PlayoutClock(8_000)
    for second in range(20):
        play(clock, second, 0.365 if second == 10 else 0.065)
    assert clock.lead_ms(40.0) == pytest.approx(0, abs=1)


def test_echoes_that_stay_late_are_audio_that_lies_in_the_buffer() -> None:
    """The network held our audio for 300 ms once: since then all of it is played so much later."""
    clock = PlayoutClock(8_000)
    for second in range(20):
        play(clock, second, 0.065 if second < 10 else 0.365)
        if second == 12:
            assert clock.lead_ms(26.365) == pytest.approx(300, abs=25)


def test_marks_that_never_come_back_do_not_pile_up() -> None:
    clock = PlayoutClock(8_000)
    for number in range(1_000):
        clock.marked(f"m{number}", 0.0)
    clock.echoed("m0", 1.0)  # forgotten: says nothing
    clock.echoed("never sent", 1.0)
    assert len(clock._marks) == 64
