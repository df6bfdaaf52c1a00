"""A tap that measures: how long each frame took, what lies in the buffers, what was lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipecat.frames.frames import Frame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from processors.frames import PHONE_RATE_HZ, MarkInputFrame, MarkOutputFrame, MulawOutputFrame
from processors.playout_clock import PlayoutClock
from processors.tally import Tally

FRAME_MS = 80.0


@dataclass(frozen=True, slots=True)
class Step:
    """One frame of the answer, as it left.

    Attributes:
        engine_ms: from the caller's frame to this one.
        lead_ms: what the other side has still to play before it.
        timings_ms: of the engine's stages.
        backlog_frames: of the caller's, still unanswered.
        newly_dropped: of the caller's, dropped since the step before.
        newly_trimmed_ms: silence taken out since the step before.
        gap_ms: silence that the ear heard because this came late.
    """

    engine_ms: float
    lead_ms: float
    timings_ms: Mapping[str, float]
    backlog_frames: int
    newly_dropped: int
    newly_trimmed_ms: float
    gap_ms: float

    @property
    def delay_ms(self) -> float:
        """From the caller's frame to this one at the ear, but for the network."""
        return self.engine_ms + self.lead_ms

    @property
    def overran(self) -> bool:
        """Whether a stage took longer than the frame lasts."""
        return any(ms > FRAME_MS for ms in self.timings_ms.values())


@dataclass
class CallFigures:
    """A call's figures, from its first frame until now.

    Attributes:
        frames: of the answer that have left.
        delay: of each, at the ear.
        lead: before each.
        stages: how long each of the engine's stages took, by name.
        backlog_frames: unanswered now.
        most_backlog_frames: unanswered at worst.
        lead_ms: before the last frame.
        dropped_frames: of the caller's, never answered.
        trimmed_ms: silence taken out.
        gaps: times that the ear ran dry.
        gap_ms: for how long in all.
        overruns: frames of which a stage took longer than they last.
    """

    frames: int = 0
    delay: Tally = field(default_factory=Tally)
    lead: Tally = field(default_factory=Tally)
    stages: dict[str, Tally] = field(default_factory=dict[str, Tally])
    backlog_frames: int = 0
    most_backlog_frames: int = 0
    delay_ms: float = 0.0
    lead_ms: float = 0.0
    dropped_frames: int = 0
    trimmed_ms: float = 0.0
    gaps: int = 0
    gap_ms: float = 0.0
    overruns: int = 0

    def add(self, step: Step) -> None:
        """Take a frame into account."""
        self.frames += 1
        self.delay.add(step.delay_ms)
        self.lead.add(step.lead_ms)
        for stage, ms in step.timings_ms.items():
            self.stages.setdefault(stage, Tally()).add(ms)
        self.backlog_frames = step.backlog_frames
        self.most_backlog_frames = max(self.most_backlog_frames, step.backlog_frames)
        self.delay_ms, self.lead_ms = step.delay_ms, step.lead_ms
        self.dropped_frames += step.newly_dropped
        self.trimmed_ms += step.newly_trimmed_ms
        self.gaps += step.gap_ms > 0
        self.gap_ms += step.gap_ms
        self.overruns += step.overran

    def summary(self) -> dict[str, Any]:
        """Sum up, for JSON. Milliseconds, but where the name says otherwise."""
        return {
            "frames": self.frames,
            "delay_ms": round(self.delay_ms, 1),
            "lead_ms": round(self.lead_ms, 1),
            "backlog_frames": self.backlog_frames,
            "most_backlog_frames": self.most_backlog_frames,
            "dropped_frames": self.dropped_frames,
            "trimmed_ms": round(self.trimmed_ms, 1),
            "gaps": self.gaps,
            "gap_ms": round(self.gap_ms, 1),
            "overruns": self.overruns,
            "delay": self.delay.summary(),
            "lead": self.lead.summary(),
            "stages": {stage: tally.summary() for stage, tally in self.stages.items()},
        }


class Meter(FrameProcessor):
    """Measures what passes on its way to the caller, and changes nothing.

    Stands behind the µ-law encoder, so that it sees what is sent. What earlier stages know is in the
    frames' ``metadata``; where there is none, the figure stays 0.

    Args:
        figures: of the call; whoever gave them may read them at any time.
        on_step: is told of each frame.
        now_s: the clock, in seconds; the event loop's own unless told otherwise.
    """

    def __init__(
        self,
        figures: CallFigures,
        on_step: Callable[[Step], None] = lambda _: None,
        now_s: Callable[[], float] | None = None,
    ) -> None:
        super().__init__(enable_direct_mode=True)
        self.figures = figures
        self._on_step = on_step
        self._now_s = now_s or (lambda: asyncio.get_running_loop().time())
        self._clock = PlayoutClock(PHONE_RATE_HZ)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Measure and pass on."""
        await super().process_frame(frame, direction)
        if isinstance(frame, MulawOutputFrame):
            step = self._step(frame)
            self.figures.add(step)
            self._on_step(step)
        elif isinstance(frame, MarkOutputFrame):
            self._clock.marked(frame.mark, self._now_s())
        elif isinstance(frame, MarkInputFrame):
            self._clock.echoed(frame.mark, self._now_s())
        await self.push_frame(frame, direction)

    def _step(self, frame: MulawOutputFrame) -> Step:
        now_s, known = self._now_s(), frame.metadata
        lead_ms, gap_ms = self._clock.lead_ms(now_s), self._clock.gap_ms
        self._clock.sent(len(frame.mulaw), now_s)
        return Step(
            engine_ms=known.get("delay_ms", 0.0),
            lead_ms=lead_ms,
            timings_ms=known.get("timings_ms", {}),
            backlog_frames=known.get("backlog_frames", 0),
            newly_dropped=known.get("dropped_frames", 0) - self.figures.dropped_frames,
            newly_trimmed_ms=known.get("trimmed_ms", 0.0) - self.figures.trimmed_ms,
            gap_ms=self._clock.gap_ms - gap_ms,
        )
