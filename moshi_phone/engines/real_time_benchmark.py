"""Does an engine hold real time? Feeds calls at the pace of speech and sums up what comes back."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from moshi_phone.audio.formats import FRAME_MS, FRAME_SAMPLES
from moshi_phone.audio.percentiles import Percentiles
from moshi_phone.engines.duplex import DuplexEngine, DuplexSession

TOLERATED_DROPS = 0.01  # a hiccup of the machine is not the engine's


@dataclass(frozen=True)
class Pace:
    """What was measured.

    Attributes:
        calls: how many talked at once.
        frames: of 80 ms, fed to each.
        stages: milliseconds of each stage for a frame, by its name.
        answers: from a frame's arrival to its answer; None where nothing came back.
        dropped_frames: of all calls, because the engine was too far behind.
        skipped_frames: of all calls, that were answered but not listened to for words.
    """

    calls: int
    frames: int
    stages: dict[str, Percentiles]
    answers: Percentiles | None
    dropped_frames: int
    untranscribed_frames: int = 0

    @property
    def slowest(self) -> str:
        """The stage that sets the pace."""
        return max(self.stages, key=lambda stage: self.stages[stage].p95)

    @property
    def holds(self) -> bool:
        """Whether every stage is quicker than speech, and frames were not dropped."""
        fed_frames = self.calls * self.frames
        return (
            bool(self.stages)
            and self.stages[self.slowest].p95 < FRAME_MS
            and self.dropped_frames <= TOLERATED_DROPS * fed_frames
        )


def report(pace: Pace, shared_stages: Sequence[str]) -> list[str]:
    """Put a measurement into lines, the last of which is the verdict.

    Args:
        pace: what was measured.
        shared_stages: those that all calls share, one after the other.
    """
    lines = [f"{'milliseconds':<14}{'p50':>8}{'p95':>8}{'max':>8}{'headroom':>10}"]
    rows = [*pace.stages.items(), *([] if pace.answers is None else [("answer", pace.answers)])]
    for name, spread in rows:
        headroom = "" if name == "answer" else f"{FRAME_MS - spread.p95:10.1f}"
        lines.append(f"{name:<14}{spread.p50:8.1f}{spread.p95:8.1f}{spread.max:8.1f}{headroom}")
    lines.append(f"{pace.dropped_frames} of {pace.calls * pace.frames} frames dropped")
    if pace.untranscribed_frames:
        lines.append(
            f"{pace.untranscribed_frames} of {pace.calls * pace.frames} frames answered, but not listened to"
        )
    return [*lines, verdict(pace, shared_stages)]


def verdict(pace: Pace, shared_stages: Sequence[str]) -> str:
    """Say in one line whether the machine is quick enough, and for how much."""
    if not pace.stages:
        return f"Verdict: too slow: not one of {pace.frames} frames was answered."
    slowest = pace.stages[pace.slowest]
    calls = f"{pace.calls} call{'s' if pace.calls > 1 else ''}"
    if not pace.holds:
        return (
            f"Verdict: does not hold real time for {calls}: {pace.slowest} takes {slowest.p95:.0f} ms "
            f"at p95 for {FRAME_MS} ms of speech; {pace.dropped_frames} frames were dropped."
        )
    shared = [stage for stage in shared_stages if stage in pace.stages]
    room = int(FRAME_MS // sum(pace.stages[stage].p95 for stage in shared))
    more = f"{' and '.join(shared)} alone would have room for {room}" if room > pace.calls else "not for more"
    return (
        f"Verdict: holds real time for {calls}: {pace.slowest} takes {slowest.p95:.0f} of {FRAME_MS} ms "
        f"at p95, {FRAME_MS - slowest.p95:.0f} ms of headroom; {more}."
    )


async def measure(engine: DuplexEngine, calls: int, frames: int) -> Pace:
    """Let callers talk to a started engine, in real time.

    Args:
        engine: started, and free.
        calls: how many talk at once.
        frames: of 80 ms, from each.

    Raises:
        EngineBusy: when it does not hold so many.
        EngineFailed: when a session broke.
    """
    sessions = [engine.open_session() for _ in range(calls)]
    try:
        found = await asyncio.gather(*(_talk(session, frames) for session in sessions))
    finally:
        await asyncio.gather(*(session.close() for session in sessions))
    stages: dict[str, list[float]] = {}
    answers_ms: list[float] = []
    for call in found:
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
            while len(fed_at_s) > session.backlog_frames + 1:  # the oldest were dropped, and get no answer
                fed_at_s.popleft()
            if step.pcm is None:  # nothing was to be said yet: a server was still being reached
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
            # Against the start, so that what one sleep takes too long is made up for by the next.
            await asyncio.sleep(began_s + number * FRAME_MS / 1000 - loop.time())
            fed_at_s.append(time.perf_counter())
            # Noise: silent frames would be dropped first where the engine falls behind.
            session.feed((0.1 * rng.standard_normal(FRAME_SAMPLES)).astype(np.float32))
        last_words_s = 5 * FRAME_MS / 1000  # as many frames as may be under way (backlog.LIMIT_FRAMES)
        await asyncio.wait([listening], timeout=last_words_s)
    finally:
        listening.cancel()
    if listening.done() and not listening.cancelled() and (error := listening.exception()):
        raise error
    return heard
