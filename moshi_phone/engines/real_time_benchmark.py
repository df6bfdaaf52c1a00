"""Benchmark of an engine in real time: feeds calls at the pace of speech and measures the answers."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from moshi_phone.audio.formats import FRAME_MS, FRAME_SAMPLES
from moshi_phone.audio.percentiles import Percentiles
from moshi_phone.engines.duplex import DuplexEngine, DuplexSession, EngineUnavailable

BUSY_SHARE = 0.8  # of 80 ms for a step; the rest absorbs hiccups
MAX_CALLS = 256  # no extrapolation beyond this number
GIVE_UP_MS = 1000.0  # for a step; further measurements would not change the verdict
TOLERATED_DROPS = 0.01  # hiccups of the machine do not count


class TooSlow(EngineUnavailable):
    """A step is too slow for any further measurement.

    Args:
        step_ms: its duration.
    """

    def __init__(self, step_ms: float) -> None:
        super().__init__(
            f"too slow: a step of the model takes {step_ms / 1000:.1f} s for {FRAME_MS} ms of speech."
        )


@dataclass(frozen=True)
class Pace:
    """The result of a measurement.

    Attributes:
        calls: number of simultaneous calls.
        frames: number of frames of 80 ms fed to each.
        stages: durations of each stage for a frame in ms, by its name.
        answers: delays from a frame to its answer; None if nothing was answered.
        dropped_frames: frames of all calls that were dropped, because the engine was too far behind.
        untranscribed_frames: frames of all calls that were answered but not transcribed.
    """

    calls: int
    frames: int
    stages: dict[str, Percentiles]
    answers: Percentiles | None
    dropped_frames: int
    untranscribed_frames: int = 0

    @property
    def slowest(self) -> str:
        """The stage with the longest p95."""
        return max(self.stages, key=lambda stage: self.stages[stage].p95)

    @property
    def keeps_up(self) -> bool:
        """Whether every stage is faster than speech, and (nearly) no frames were dropped."""
        fed_frames = self.calls * self.frames
        return (
            bool(self.stages)
            and self.stages[self.slowest].p95 < FRAME_MS
            and self.dropped_frames <= TOLERATED_DROPS * fed_frames
        )


@dataclass(frozen=True)
class Capacity:
    """Number of calls a machine holds, by each part alone; computed from measurements.

    Attributes:
        steps: by the model's steps, whose duration grows linearly with the number of calls.
        codecs: by the codecs; a core processes one frame at a time.
        memory: by the memory; None if unknown.
    """

    steps: int
    codecs: int
    memory: int | None = None

    @property
    def calls(self) -> int:
        """Number of calls that the machine can hold."""
        return min(self.steps, self.codecs, self.steps if self.memory is None else self.memory)

    def __str__(self) -> str:
        """All limits in one line, the lowest first."""
        parts = {"steps": self.steps, "codecs": self.codecs}
        if self.memory is not None:
            parts["memory"] = self.memory
        each = ", ".join(f"{name} {count}" for name, count in sorted(parts.items(), key=lambda part: part[1]))
        return f"Holds about {self.calls} call{'' if self.calls == 1 else 's'} at once: {each}."


def capacity(
    step_ms: Mapping[int, float], codec_ms: float, cores: int, *, memory: int | None = None
) -> Capacity:
    """Compute the number of calls that a machine can hold, with a fifth of the time in reserve.

    Args:
        step_ms: duration of a step, by the number of calls in it; at least one entry.
        codec_ms: time of a core to encode and decode a frame.
        cores: number of cores for the codecs.
        memory: number of calls that fit into memory.
    """
    budget_ms = FRAME_MS * BUSY_SHARE
    few, many = min(step_ms), max(step_ms)
    # With a single measurement, the worst case: each further call costs as much as the first.
    each_ms = (step_ms[many] - step_ms[few]) / (many - few) if many > few else step_ms[few] / few
    if step_ms[many] > budget_ms:
        steps = max((calls for calls, took_ms in step_ms.items() if took_ms <= budget_ms), default=0)
    else:
        steps = many + math.floor((budget_ms - step_ms[many]) / max(each_ms, 1e-3))
    return Capacity(min(steps, MAX_CALLS), math.floor(cores * FRAME_MS / codec_ms), memory)


def report(pace: Pace) -> list[str]:
    """Format a measurement; the last line is the verdict."""
    lines = [f"{'milliseconds':<14}{'p50':>8}{'p95':>8}{'max':>8}{'headroom':>10}"]
    rows = [*pace.stages.items(), *([] if pace.answers is None else [("answer", pace.answers)])]
    for name, spread in rows:
        headroom = "" if name == "answer" else f"{FRAME_MS - spread.p95:10.1f}"
        lines.append(f"{name:<14}{spread.p50:8.1f}{spread.p95:8.1f}{spread.max:8.1f}{headroom}")
    lines.append(f"{pace.dropped_frames} of {pace.calls * pace.frames} frames dropped")
    if pace.untranscribed_frames:
        lines.append(
            f"{pace.untranscribed_frames} of {pace.calls * pace.frames} frames answered, but not transcribed"
        )
    return [*lines, verdict(pace)]


def verdict(pace: Pace) -> str:
    """Return in one line whether the machine is fast enough."""
    if not pace.stages:
        return f"Verdict: too slow: not one of {pace.frames} frames was answered."
    slowest = pace.stages[pace.slowest]
    calls = f"{pace.calls} call{'s' if pace.calls > 1 else ''}"
    if not pace.keeps_up:
        return (
            f"Verdict: does not keep up with {calls}: {pace.slowest} takes {slowest.p95:.0f} ms "
            f"at p95 for {FRAME_MS} ms of speech; {pace.dropped_frames} frames were dropped."
        )
    return (
        f"Verdict: keeps up with {calls}: {pace.slowest} takes {slowest.p95:.0f} of {FRAME_MS} ms "
        f"at p95, {FRAME_MS - slowest.p95:.0f} ms of headroom."
    )


async def measure(engine: DuplexEngine, calls: int, frames: int) -> Pace:
    """Feed a started engine with callers' noise, in real time.

    Args:
        engine: started, without calls.
        calls: number of simultaneous calls.
        frames: number of frames of 80 ms from each.

    Raises:
        EngineBusy: when its capacity is smaller.
        EngineFailed: when a session failed.
    """
    sessions = [engine.open_session() for _ in range(calls)]
    try:
        results = await asyncio.gather(*(_talk(session, frames) for session in sessions))
    finally:
        await asyncio.gather(*(session.close() for session in sessions))
    stages: dict[str, list[float]] = {}
    answers_ms: list[float] = []
    for call in results:
        answers_ms += call.answers_ms
        for name, times_ms in call.stages_ms.items():
            stages.setdefault(name, []).extend(times_ms)
    return Pace(
        calls,
        frames,
        {name: spread for name, times_ms in stages.items() if (spread := Percentiles.of(times_ms))},
        Percentiles.of(answers_ms),
        sum(session.dropped_frames for session in sessions),
        sum(session.untranscribed_frames for session in sessions),
    )


@dataclass
class _Heard:
    stages_ms: dict[str, list[float]]
    answers_ms: list[float]


async def _talk(session: DuplexSession, frames: int) -> _Heard:
    heard, fed_at_s = _Heard({}, []), deque[float]()

    async def listen() -> None:
        async for step in session.outputs():
            while len(fed_at_s) > session.backlog_frames + 1:  # the oldest were dropped and get no answer
                fed_at_s.popleft()
            if step.pcm is None:  # no audio yet: the server was still being connected
                continue
            if fed_at_s:
                heard.answers_ms.append((time.perf_counter() - fed_at_s.popleft()) * 1000)
            for stage, stage_ms in step.timings_ms.items():
                heard.stages_ms.setdefault(stage, []).append(stage_ms)

    listening = asyncio.create_task(listen())
    rng = np.random.default_rng(0)
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    try:
        for number in range(frames):
            # Relative to the start, so that the next sleep compensates for one that was too long.
            await asyncio.sleep(began_s + number * FRAME_MS / 1000 - loop.time())
            fed_at_s.append(time.perf_counter())
            # Noise, because a lagging engine would drop silent frames first.
            session.feed((0.1 * rng.standard_normal(FRAME_SAMPLES)).astype(np.float32))
        drain_s = 5 * FRAME_MS / 1000  # the maximum number of frames in flight (backlog.LIMIT_FRAMES)
        await asyncio.wait([listening], timeout=drain_s)
    finally:
        listening.cancel()
    if listening.done() and not listening.cancelled() and (error := listening.exception()):
        raise error
    return heard
