"""A whole line in simulated time, without an event loop: an hour of a call in a second. Pure.

The parts are the product's own (packet assembler, playout, trimmer, the rehearsal's playback model). The
network between them, the engine's time and the two clocks are simulated.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from moshi_phone.audio.formats import FRAME_MS, PHONE_FRAME_SAMPLES, PHONE_RATE_HZ
from moshi_phone.audio.packet_assembler import PacketAssembler
from moshi_phone.audio.playout_control import PlayoutControl
from moshi_phone.engines.backlog import LIMIT_FRAMES
from moshi_phone.rehearse.playback import Playback

FRAME_S = FRAME_MS / 1000
PACKET_MS = 20
PACKET = bytes(PHONE_RATE_HZ * PACKET_MS // 1000)
LATENCY_S = 0.030  # of each way, at least
STEP_S = 0.004
_CYCLE_S, _PAUSE_S = 4.0, 1.0  # speech for 3 s, a pause of 1 s, and so on
_DRAWN_AT_ONCE = 4_096
_SPEECH = np.random.default_rng(0).normal(0, 3_000, PHONE_FRAME_SAMPLES).astype(np.int16)
_SILENCE = np.zeros(PHONE_FRAME_SAMPLES, np.int16)


@dataclass(frozen=True)
class Conditions:
    """The conditions of a call.

    Attributes:
        hours: duration.
        jitter_ms: maximum of each message's random delay, in each direction; the order is kept.
        pauses: whether the answer pauses for a second every four, or never.
        lost: share of the caller's packets that are lost.
        fast: the share by which the other side's clock is fast; negative if it is slow.
        step_s: the engine's time for a frame, by the frame's number.
        outages_s: start and end of outages; what we send meanwhile arrives at their end.
        seed: of all random numbers.
    """

    hours: float = 1.0
    jitter_ms: float = 0.0
    pauses: bool = True
    lost: float = 0.0
    fast: float = 0.0
    step_s: Callable[[int], float] = field(default=lambda _: STEP_S, repr=False)
    outages_s: Sequence[tuple[float, float]] = ()
    seed: int = 1


@dataclass(frozen=True)
class Outcome:
    """The results, on the ear's clock.

    Attributes:
        secs: duration of the call.
        gap_s: total of the gaps at the ear.
        late_gap_s: likewise, in the second half of the call alone.
        metered_gap_s: this side's estimate of ``gap_s``.
        first_delay_ms: mean delay, mouth to ear, of the first minute.
        last_delay_ms: mean delay of the last minute.
        trimmed_s: trimmed silence.
        cut_s: trimmed speech.
    """

    secs: float
    gap_s: float
    late_gap_s: float
    metered_gap_s: float
    first_delay_ms: float
    last_delay_ms: float
    trimmed_s: float
    cut_s: float


class Way:
    """One direction of the network, with delay and without reordering.

    Args:
        random: draws the jitter.
        jitter_s: maximum delay.
        outages_s: start and end of outages.
    """

    def __init__(
        self, random: np.random.Generator, jitter_s: float, outages_s: Sequence[tuple[float, float]] = ()
    ) -> None:
        self.extra_s = 0.0
        self._random = random
        self._jitter_s = jitter_s
        self._outages_s = outages_s
        self._drawn_s = iter(())
        self._last_s = 0.0

    def arrival_s(self, sent_s: float) -> float:
        """Send a message; return its time of arrival."""
        late_s: float | None = next(self._drawn_s, None)
        if late_s is None:
            self._drawn_s = iter(self._random.uniform(0, self._jitter_s, _DRAWN_AT_ONCE).tolist())
            late_s = next(self._drawn_s)
        for begins_s, ends_s in self._outages_s:
            if begins_s <= sent_s < ends_s:
                sent_s = ends_s
        self._last_s = max(self._last_s, sent_s + LATENCY_S + self.extra_s + late_s)
        return self._last_s


class SimulatedLine:
    """One call from end to end. Times are by our clock; the playback model has its own.

    Args:
        conditions: of the call.
    """

    def __init__(self, conditions: Conditions) -> None:
        self.conditions = conditions
        random = np.random.default_rng(conditions.seed)
        jitter_s = conditions.jitter_ms / 1000
        self.way_in = Way(random, jitter_s)
        self.way_out = Way(random, jitter_s, conditions.outages_s)
        self.ear = Playback()
        self.playout = PlayoutControl()
        self._random = random
        self._far_rate = 1 + conditions.fast
        self._packets = round(conditions.hours * 3_600_000 / PACKET_MS)
        self._echoes: deque[tuple[float, str]] = deque()
        self._delays_ms: list[float] = []
        self._answers = 0
        self._cut_samples = 0

    def run(self) -> Outcome:
        """Simulate the call."""
        self._send_mark(0.0)
        for frame, now_s in self._answered():
            while self._echoes and self._echoes[0][0] <= now_s:
                echo_s, name = self._echoes.popleft()
                self.playout.echoed(name, echo_s)
            self._answer(frame, now_s)
        gaps, minute = self.ear.gaps, round(60 / FRAME_S)
        half_sample = self._packets * len(PACKET) // 2
        return Outcome(
            secs=self._packets * PACKET_MS / 1000,
            gap_s=sum(gap.ms for gap in gaps) / 1000,
            late_gap_s=sum(gap.ms for gap in gaps if gap.heard_sample > half_sample) / 1000,
            metered_gap_s=self.playout.clock.underrun_ms / 1000,
            first_delay_ms=float(np.mean(self._delays_ms[:minute])),
            last_delay_ms=float(np.mean(self._delays_ms[-minute:])),
            trimmed_s=self.playout.trimmer.trimmed_ms / 1000,
            cut_s=self._cut_samples / PHONE_RATE_HZ,
        )

    def _arrived(self) -> Iterator[tuple[int, float]]:
        """Yield the caller's frames, numbered, and when each is complete."""
        assembler = PacketAssembler()
        lost = self._random.random(self._packets) < self.conditions.lost
        frames = 0
        for packet, is_lost in enumerate(lost.tolist()):
            sent_s = (packet + 1) * PACKET_MS / 1000 / self._far_rate
            for echo in self.ear.echoes(sent_s * self._far_rate):
                back_s = self.way_in.arrival_s(echo.at_s / self._far_rate)
                self._echoes.append((back_s, echo.name))
            if is_lost:
                continue
            arrived_s = self.way_in.arrival_s(sent_s)
            for _ in range(len(assembler.push(PACKET, packet * PACKET_MS)) // PHONE_FRAME_SAMPLES):
                yield frames, arrived_s
                frames += 1

    def _answered(self) -> Iterator[tuple[int, float]]:
        """Yield the engine's answered frames in order, with their times; it drops frames that are too old."""
        waiting: deque[tuple[int, float]] = deque()
        free_s = 0.0
        for frame, arrived_s in self._arrived():
            while waiting and max(free_s, waiting[0][1]) <= arrived_s:
                answered, came_s = waiting.popleft()
                free_s = max(free_s, came_s) + self.conditions.step_s(answered)
                yield answered, free_s
            waiting.append((frame, arrived_s))
            if len(waiting) > LIMIT_FRAMES:
                waiting.popleft()

    def _answer(self, frame: int, now_s: float) -> None:
        silent = self.conditions.pauses and self._answers * FRAME_S % _CYCLE_S < _PAUSE_S
        self._answers += 1
        block = _SILENCE if silent else _SPEECH
        sent: NDArray[np.int16] = self.playout.send(block, now_s)
        if not silent:
            self._cut_samples += block.size - sent.size
        if not sent.size:
            return
        self.ear.media(bytes(sent.size), self._heard_from_s(now_s))
        heard_s = self.ear.segments[-1].heard_sample / PHONE_RATE_HZ
        self._delays_ms.append((heard_s - frame * FRAME_S) * 1000)
        self._send_mark(now_s)

    def _send_mark(self, now_s: float) -> None:
        if (name := self.playout.mark_if_due(now_s)) is not None:
            self.ear.mark(name, self._heard_from_s(now_s))

    def _heard_from_s(self, now_s: float) -> float:
        return self.way_out.arrival_s(now_s) * self._far_rate


def simulate(conditions: Conditions) -> Outcome:
    """Simulate a call under these conditions."""
    return SimulatedLine(conditions).run()
