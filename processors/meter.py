"""Measures a call: how long each frame took, what lies in the buffers, what was lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pipecat.frames.frames import Frame

from audio.formats import FRAME_MS, PHONE_RATE_HZ
from audio.histogram import Histogram
from audio.playout_clock import PlayoutClock
from engines.duplex import WIRE
from processors.frames import MarkInputFrame, MarkOutputFrame, MulawOutputFrame
from records.call_metrics import CallMetrics


class Meter:
    """Measures what passes on its way to the caller: a observer of a ``Tap``.

    The tap stands behind the µ-law encoder, so that the meter sees what is sent. What earlier stages know is
    in the frames' ``metadata``; where there is none, the figure stays 0.

    Args:
        metrics: of the call; whoever gave them may read them at any time.
        now_s: the clock, in seconds; the event loop's own unless told otherwise.
    """

    def __init__(self, metrics: CallMetrics, now_s: Callable[[], float] | None = None) -> None:
        self.metrics = metrics
        self._now_s = now_s or (lambda: asyncio.get_running_loop().time())
        self._clock = PlayoutClock(PHONE_RATE_HZ)

    def observe(self, frame: Frame) -> None:
        """Measure a frame, and keep account of the marks that check the buffer's length."""
        if isinstance(frame, MulawOutputFrame):
            self._measure(frame)
        elif isinstance(frame, MarkOutputFrame):
            self._clock.marked(frame.mark, self._now_s())
        elif isinstance(frame, MarkInputFrame):
            self._clock.echoed(frame.mark, self._now_s())

    def close(self) -> None:
        """Nothing to finish: the metrics stay."""

    def _measure(self, frame: MulawOutputFrame) -> None:
        now_s, known, metrics = self._now_s(), frame.metadata, self.metrics
        metrics.playout_lead_ms = self._clock.lead_ms(now_s)
        self._clock.sent(len(frame.mulaw), now_s)
        metrics.delay_ms = known.get("delay_ms", 0.0) + metrics.playout_lead_ms
        metrics.frames += 1
        metrics.delay.add(metrics.delay_ms)
        metrics.playout_lead.add(metrics.playout_lead_ms)
        timings_ms = known.get("timings_ms", {})
        for stage, ms in timings_ms.items():
            if stage not in metrics.stages:
                metrics.stages[stage] = Histogram()
            metrics.stages[stage].add(ms)
        slowest_ms = max((ms for stage, ms in timings_ms.items() if stage != WIRE), default=0.0)
        metrics.deadline_misses += slowest_ms > FRAME_MS
        metrics.backlog_frames = known.get("backlog_frames", 0)
        metrics.most_backlog_frames = max(metrics.most_backlog_frames, metrics.backlog_frames)
        metrics.dropped_frames = known.get("dropped_frames", 0)
        metrics.trimmed_ms = known.get("trimmed_ms", 0.0)
        metrics.underruns, metrics.underrun_ms = self._clock.underruns, self._clock.underrun_ms
