from __future__ import annotations

import numpy as np
import pytest

from moshi_phone.audio.playout_clock import PlayoutClock

FRAME_S = 0.08
ROUND_TRIP_S = 0.06


def test_the_lead_is_the_audio_sent_but_not_played() -> None:
    clock = PlayoutClock()
    assert clock.lead_ms(5.0) == 0
    clock.sent(FRAME_S, 5.0)
    assert clock.lead_ms(5.0) == pytest.approx(80)
    assert clock.lead_ms(5.05) == pytest.approx(30)
    clock.sent(FRAME_S, 5.05)
    assert clock.lead_ms(5.05) == pytest.approx(110)
    assert clock.lead_ms(9) == 0
    assert clock.underruns == 0


def test_an_empty_buffer_is_one_underrun() -> None:
    clock = PlayoutClock()
    clock.sent(FRAME_S, 0.0)
    clock.sent(FRAME_S, 0.5)
    clock.sent(FRAME_S, 0.58)
    assert clock.underruns == 1
    assert clock.underrun_ms == pytest.approx(420)
    assert clock.lead_ms(0.58) == pytest.approx(80)


class Ear:
    """Sends audio to a clock in real time, and acknowledges its marks with a buffer's delay."""

    def __init__(self) -> None:
        self.clock = PlayoutClock()
        self.now_s = 0.0
        self.hidden_s = 0.0  # how much of it lies in the buffer and not in the account
        self._echoes: list[tuple[float, str]] = []

    def second(self, late_s: float = 0.0) -> None:
        """Play a second of audio, whose mark is acknowledged this late."""
        for _ in range(12):
            self.clock.sent(FRAME_S, self.now_s)
            self.now_s += FRAME_S
        mark = f"m{self.now_s}"
        self.clock.marked(mark, self.now_s)
        self._echoes.append((self.now_s + ROUND_TRIP_S + self.hidden_s + late_s, mark))
        while self._echoes and self._echoes[0][0] <= self.now_s + FRAME_S * 12:
            self.clock.echoed(self._echoes[0][1], self._echoes.pop(0)[0])

    @property
    def lead_ms(self) -> float:
        return self.clock.lead_ms(self.now_s)


def test_punctual_acknowledgements_change_nothing() -> None:
    ear = Ear()
    for _ in range(20):
        ear.second()
    assert ear.lead_ms == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("jitter_s", [0.01, 0.025, 0.05])
def test_jitter_of_acknowledgements_does_not_count_as_buffered_audio(jitter_s: float) -> None:
    """One hour; the estimate used to end above half a second and to grow with each correction."""
    ear, random = Ear(), np.random.default_rng(1)
    leads_ms = []
    for _ in range(3_750):
        ear.second(random.uniform(0, jitter_s))
        leads_ms.append(ear.lead_ms)
    assert max(leads_ms) < 0.3 * jitter_s * 1000
    assert np.mean(leads_ms) < 0.02 * jitter_s * 1000
    assert ear.clock.jitter_ms == pytest.approx(900 * jitter_s, rel=0.2)
    assert ear.clock.underrun_ms == pytest.approx(max(leads_ms), abs=0.1)  # the most, not a sum


def test_a_few_late_acknowledgements_are_network_delay() -> None:
    ear = Ear()
    for second in range(40):
        ear.second(0.3 if 20 <= second < 25 else 0.0)
        assert ear.lead_ms == pytest.approx(0, abs=0.01)


def test_lastingly_late_acknowledgements_are_buffered_audio() -> None:
    """The network held our audio for 300 ms once; all later audio is played that much later."""
    ear = Ear()
    for second in range(60):
        ear.hidden_s = 0.3 if 20 <= second < 40 else 0.0
        ear.second()
        if 20 <= second < 28:
            assert ear.lead_ms == pytest.approx(0, abs=0.01)
        if 32 <= second < 40:
            assert ear.lead_ms == pytest.approx(300, abs=1)
        if second >= 42:
            assert ear.lead_ms == pytest.approx(0, abs=1)
    assert ear.clock.underrun_ms == pytest.approx(300, abs=1)
    assert ear.clock.underruns == 1


def test_trimming_reduces_hidden_audio_and_confirms_nothing() -> None:
    ear = Ear()
    for _ in range(20):
        ear.second()
    ear.hidden_s = 0.3
    for _ in range(12):
        ear.second()
    ear.clock.trimmed(0.2)  # that much less is sent from here on, so it is played that much earlier
    ear.now_s += 0.2
    ear.hidden_s -= 0.2
    for _ in range(30):
        ear.second()
        assert ear.lead_ms == pytest.approx(100, abs=1)
    assert ear.clock.underruns == 1


def test_lost_audio_is_not_waited_for() -> None:
    """A transport whose peer stops reading drops the oldest audio: its marks are acknowledged early."""
    ear = Ear()
    for _ in range(20):
        ear.second()
    for _ in range(25):
        ear.clock.sent(FRAME_S, ear.now_s)  # 2 s more, none of which arrives: earlier audio ends now
    for second in range(20):
        ear.second()
        if second >= 3:
            assert ear.lead_ms == pytest.approx(0, abs=1)
    assert ear.clock.underrun_ms == 0


def test_unacknowledged_marks_are_bounded() -> None:
    clock = PlayoutClock()
    for number in range(1_000):
        clock.marked(f"m{number}", 0.0)
    clock.echoed("m0", 1.0)  # forgotten: says nothing
    clock.echoed("never sent", 1.0)
    assert len(clock._marks) == 64
