"""The send window's accounting of frames, in plain numbers."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
import pytest

from moshi_phone.audio.formats import FRAME_MS, FRAME_SAMPLES
from moshi_phone.engines.remote.send_window import AHEAD_FRAMES, WAITING_FRAMES, SendWindow

FRAME_S = FRAME_MS / 1000
SILENT = np.zeros(FRAME_SAMPLES, np.float32)
LOUD = np.full(FRAME_SAMPLES, 0.5, np.float32)


@dataclass
class Simulation:
    """A server that swallows its first frames and takes ``step_s`` for each, behind a network."""

    swallows: int = 0
    step_s: float = 0.02
    wire_s: float = 0.0
    flow: SendWindow = field(default_factory=SendWindow)
    delays_s: list[float] = field(default_factory=list)
    fed: int = 0
    sent: int = 0
    free_s: float = 0.0
    due_s: deque[float] = field(default_factory=deque)

    def run(self, frames: int) -> None:
        for _ in range(frames):
            now_s = self.fed * FRAME_S
            while self.due_s and self.due_s[0] <= now_s:
                at_s = self.due_s.popleft()
                delay_s = self.flow.answered(at_s)
                assert delay_s is not None
                self.delays_s.append(delay_s)
                self._send(at_s)
            self.flow.push(LOUD)
            self.fed += 1
            self._send(now_s)

    def _send(self, now_s: float) -> None:
        while self.flow.take(now_s) is not None:
            self.sent += 1
            self.free_s = max(self.free_s, now_s + self.wire_s / 2) + self.step_s
            if self.sent > self.swallows:
                self.due_s.append(self.free_s + self.wire_s / 2)


@pytest.mark.parametrize("swallows", [0, 1, 2, 5])
def test_swallowed_frames_are_not_backlog(swallows: int) -> None:
    simulation = Simulation(swallows)
    simulation.run(100)
    assert simulation.flow.unanswered_offset_frames == swallows
    assert simulation.flow.behind_frames <= 1
    assert simulation.flow.dropped_frames == 0
    assert simulation.sent == 100
    assert np.allclose(simulation.delays_s[1:], 0.02)


@pytest.mark.parametrize("wire_s", [0.03, 0.25, 0.5])
@pytest.mark.parametrize("swallows", [0, 2])
def test_network_delay_drops_nothing_and_counts_as_delay(swallows: int, wire_s: float) -> None:
    simulation = Simulation(swallows, wire_s=wire_s)
    simulation.flow.set_wire(wire_s)
    simulation.run(100)
    assert simulation.flow.dropped_frames == 0
    assert simulation.flow.unanswered_offset_frames == swallows
    assert np.allclose(simulation.delays_s[5:], wire_s + 0.02)


def test_the_network_delay_s_estimate_improves() -> None:
    # A server that blocks while its model works answers a ping late.
    simulation = Simulation(2)
    simulation.flow.set_wire(0.3)
    simulation.run(20)
    assert simulation.flow.unanswered_offset_frames == 0  # two frames seemed to be on the wire
    simulation.flow.set_wire(0.001)
    simulation.flow.set_wire(0.2)
    simulation.run(20)
    assert simulation.flow.unanswered_offset_frames == 2


def test_a_server_at_half_speed_is_at_most_400_ms_behind() -> None:
    simulation = Simulation(1, step_s=2 * FRAME_S)
    simulation.run(200)
    assert simulation.flow.behind_frames <= AHEAD_FRAMES + WAITING_FRAMES
    assert max(simulation.delays_s) <= 2 * FRAME_S * (AHEAD_FRAMES + 4 + 1)  # until it was known
    assert max(simulation.delays_s[20:]) <= 2 * FRAME_S * (AHEAD_FRAMES + 1)
    assert simulation.flow.dropped_frames == pytest.approx(100, abs=8)


def test_silent_frames_are_dropped_first() -> None:
    flow = SendWindow()
    while True:
        flow.push(LOUD)
        if flow.take(0.0) is None:
            break  # one waits
    flow.push(SILENT)
    flow.push(LOUD)
    assert flow.dropped_frames == 1
    flow.answered(0.5)
    assert flow.take(0.5) is LOUD
    flow.answered(0.6)
    assert flow.take(0.6) is LOUD


def test_after_lost_frames_sending_resumes_within_a_second() -> None:
    flow = SendWindow()
    for number in range(100):
        flow.push(LOUD)
        flow.take(number * FRAME_S)
        if number < 20:
            flow.answered(number * FRAME_S + 0.01)
    # From frame 20 on nothing came back: in each second as many were sent as it may be ahead.
    seconds = 80 * FRAME_S
    assert len(flow._unanswered_s) == pytest.approx(AHEAD_FRAMES * seconds, abs=AHEAD_FRAMES + seconds)


def test_a_server_with_more_answers_than_frames_owes_nothing() -> None:
    flow = SendWindow()
    assert flow.answered(0.0) is None
    flow.push(LOUD)
    assert flow.take(0.0) is LOUD
    assert flow.answered(0.02) == pytest.approx(0.02)
    assert flow.answered(0.02) is None
    assert flow.behind_frames == 0
