from __future__ import annotations

import numpy as np
import pytest

from moshi_phone.rehearse.playback import MULAW_SILENCE, Gap, MarkEcho, Playback

FRAME_S = 0.080
FRAME = bytes(range(1, 129)) * 5  # 640 µ-law bytes, 80 ms


def test_punctual_audio_has_no_gap() -> None:
    ear = Playback(start_s=100.0)
    ear.media(FRAME, 100.5)
    ear.media(FRAME, 100.55)  # 30 ms before the first has been played
    assert not ear.gaps
    assert np.allclose(ear.heard_s(), 100.5 + np.arange(1280) / 8000)
    assert bytes(ear.heard(100.66)) == bytes([MULAW_SILENCE]) * 4000 + FRAME + FRAME
    assert ear.lead_ms(100.55) == pytest.approx(110)


def test_late_audio_leaves_a_gap_and_delays_the_rest() -> None:
    ear = Playback()
    ear.media(FRAME, 0.0)
    ear.media(FRAME, 0.180)  # 100 ms late
    ear.media(FRAME, 0.160 + FRAME_S)  # in time for the schedule, but the debt stays
    assert ear.gaps == [Gap(640, 800)]
    assert ear.gaps[0].ms == 100
    times = ear.heard_s()
    assert times[640] == pytest.approx(0.180)
    assert times[1280] == pytest.approx(0.260)
    heard = ear.heard(0.180)
    assert bytes(heard[:640]) == FRAME
    assert set(heard[640:]) == {MULAW_SILENCE}


def test_silence_before_the_first_audio_is_not_a_gap() -> None:
    ear = Playback()
    ear.media(FRAME, 3.0)
    assert not ear.gaps


def test_a_mark_returns_when_the_audio_before_it_has_been_played() -> None:
    ear = Playback(start_s=10.0)
    ear.media(FRAME, 10.0)
    ear.mark("a", 10.01)
    ear.media(FRAME, 10.02)
    ear.mark("b", 10.02)
    assert ear.next_echo_s == pytest.approx(10.08)
    assert ear.echoes(10.079) == []
    assert [echo.name for echo in ear.echoes(10.081)] == ["a"]
    assert ear.echoes(10.1) == []
    (b,) = ear.echoes(11.0)
    assert (b.name, b.played) == ("b", True)
    assert b.at_s == pytest.approx(10.16)
    assert ear.next_echo_s is None


def test_a_mark_returns_at_once_if_nothing_is_buffered() -> None:
    ear = Playback()
    ear.mark("first", 0.0)
    assert ear.echoes(0.0) == [MarkEcho("first", 0.0, played=True)]
    ear.media(FRAME, 0.1)
    ear.mark("late", 0.5)
    assert ear.echoes(0.5) == [MarkEcho("late", 0.5, played=True)]


def test_clear_drops_unplayed_audio_and_returns_waiting_marks() -> None:
    ear = Playback()
    ear.media(FRAME, 0.0)
    ear.mark("played", 0.0)
    ear.media(FRAME, 0.0)
    ear.mark("cut", 0.0)
    ear.media(FRAME, 0.0)
    ear.clear(0.1)  # 20 ms into the second frame
    assert ear.lead_ms(0.1) == 0
    assert ear.echoes(0.1) == [MarkEcho("played", 0.08, played=True), MarkEcho("cut", 0.1, played=False)]
    ear.media(FRAME, 0.12)
    times = ear.heard_s()
    assert np.isnan(times[800:1920]).all()
    assert times[799] == pytest.approx(0.1 - 1 / 8000)
    assert times[1920] == pytest.approx(0.12)
    assert bytes(ear.heard(0.2)[960:]) == FRAME
    assert [round(gap.ms, 3) for gap in ear.gaps] == [20]


def test_time_does_not_go_backwards() -> None:
    ear = Playback()
    ear.media(FRAME, 1.0)
    with pytest.raises(ValueError, match=r"expected time to go on from 1\.0 s, got 0\.5 s"):
        ear.media(FRAME, 0.5)


def test_rounding_errors_cause_no_gap() -> None:
    ear = Playback(start_s=12345.678)
    for k in range(1000):
        ear.media(FRAME, 12345.678 + k * FRAME_S)
    assert not ear.gaps


def test_an_excerpt_equals_the_same_part_of_the_whole() -> None:
    ear = Playback(0.0)
    ear.media(bytes(range(100, 200)), 0.010)
    ear.media(bytes(range(50)), 0.050)
    ear.media(bytes([7]) * 300, 0.052)
    whole = ear.heard(0.2)
    for begin, end in ((0, 80), (60, 200), (150, 420), (390, 700), (700, 1600), (0, 1600)):
        assert np.array_equal(ear.heard_between(begin, end), whole[begin:end])
