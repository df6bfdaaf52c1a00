"""Measures a call: how long each frame took, what lies in the buffers, what was lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pipecat.frames.frames import Frame

from processors.frames import PHONE_RATE_HZ, MarkInputFrame, MarkOutputFrame, MulawOutputFrame
from processors.playout_clock import PlayoutClock
from processors.tally import Tally

FRAME_MS = 80.0


@dataclass
class CallFigures:
    """A call's figures, from its first frame until now.

    Attributes:
        frames: of the answer that have left.
        delay: of each, from the caller's frame to the answer at the ear, less the network.
        lead: before each.
        stages: how long each of the engine's stages took, by name.
        backlog_frames: of the caller's, unanswered now.
        most_backlog_frames: unanswered at worst.
        delay_ms: of the last frame.
        lead_ms: what the other side had still to play before it.
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

    def include(self, other: CallFigures) -> None:
        """Add up with another call's, as far as figures add up."""
        self.frames += other.frames
        self.delay.include(other.delay)
        self.lead.include(other.lead)
        for stage, tally in other.stages.items():
            self.stages.setdefault(stage, Tally()).include(tally)
        self.dropped_frames += other.dropped_frames
        self.trimmed_ms += other.trimmed_ms
        self.gaps += other.gaps
        self.gap_ms += other.gap_ms
        self.overruns += other.overruns

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


class Meter:
    """Measures what passes on its way to the caller: a watcher of a ``Tap``.

    The tap stands behind the µ-law encoder, so that the meter sees what is sent. What earlier stages know is
    in the frames' ``metadata``; where there is none, the figure stays 0.

    Args:
        figures: of the call; whoever gave them may read them at any time.
        now_s: the clock, in seconds; the event loop's own unless told otherwise.
    """

    def __init__(self, figures: CallFigures, now_s: Callable[[], float] | None = None) -> None:
        self.figures = figures
        self._now_s = now_s or (lambda: asyncio.get_running_loop().time())
        self._clock = PlayoutClock(PHONE_RATE_HZ)

    def see(self, frame: Frame) -> None:
        """Measure a frame, and keep account of the marks that check the buffer's length."""
        if isinstance(frame, MulawOutputFrame):
            self._measure(frame)
        elif isinstance(frame, MarkOutputFrame):
            self._clock.marked(frame.mark, self._now_s())
        elif isinstance(frame, MarkInputFrame):
            self._clock.echoed(frame.mark, self._now_s())

    def close(self) -> None:
        """Nothing to finish: the figures stay."""

    def _measure(self, frame: MulawOutputFrame) -> None:
        now_s, known, figures = self._now_s(), frame.metadata, self.figures
        figures.lead_ms = self._clock.lead_ms(now_s)
        self._clock.sent(len(frame.mulaw), now_s)
        figures.delay_ms = known.get("delay_ms", 0.0) + figures.lead_ms
        figures.frames += 1
        figures.delay.add(figures.delay_ms)
        figures.lead.add(figures.lead_ms)
        timings_ms = known.get("timings_ms", {})
        for stage, ms in timings_ms.items():
            if stage not in figures.stages:
                figures.stages[stage] = Tally()
            figures.stages[stage].add(ms)
        figures.overruns += bool(timings_ms) and max(timings_ms.values()) > FRAME_MS
        figures.backlog_frames = known.get("backlog_frames", 0)
        figures.most_backlog_frames = max(figures.most_backlog_frames, figures.backlog_frames)
        figures.dropped_frames = known.get("dropped_frames", 0)
        figures.trimmed_ms = known.get("trimmed_ms", 0.0)
        figures.gaps, figures.gap_ms = self._clock.gaps, self._clock.gap_ms
