"""Measures a call: delays, buffers and losses."""

from __future__ import annotations

from pipecat.frames.frames import Frame, OutputAudioRawFrame

from moshi_phone.audio.formats import FRAME_MS
from moshi_phone.audio.histogram import Histogram
from moshi_phone.engines.duplex import LISTEN, WIRE
from moshi_phone.records.call_metrics import CallMetrics
from processors.frames import (
    EngineMetricsFrame,
    FilterDelayFrame,
    MulawOutputFrame,
    PlayoutMetricsFrame,
    SendMetricsFrame,
)


class Meter:
    """Collects the measurements of all stages. A monitor for ``Tap``.

    The tap may be anywhere behind the measured stages, before or behind an encoder. Values that no stage
    reports stay 0.

    Args:
        metrics: of the call; readable at any time.
    """

    def __init__(self, metrics: CallMetrics) -> None:
        self.metrics = metrics
        self._resamplers_ms = 0.0  # sum of what the pipeline's resamplers reported

    def observe(self, frame: Frame) -> None:
        """Record a measurement, and count outgoing audio."""
        if isinstance(frame, (OutputAudioRawFrame, MulawOutputFrame)):
            self._audio_leaves()
        elif isinstance(frame, EngineMetricsFrame):
            self._engine(frame)
        elif isinstance(frame, PlayoutMetricsFrame):
            self._playout(frame)
        elif isinstance(frame, SendMetricsFrame):
            self.metrics.unsent_messages = frame.dropped_messages
        elif isinstance(frame, FilterDelayFrame):
            self._resamplers_ms += frame.delay_ms
            self.metrics.filters_ms += frame.delay_ms

    def close(self) -> None:
        """Do nothing: the metrics remain."""

    def _engine(self, frame: EngineMetricsFrame) -> None:
        metrics = self.metrics
        metrics.processing_ms = frame.delay_ms
        metrics.filters_ms = self._resamplers_ms + frame.filters_ms
        for stage, ms in frame.timings_ms.items():
            if stage not in metrics.stages:  # not setdefault, which would make 1,201 slots for every step
                metrics.stages[stage] = Histogram()
            metrics.stages[stage].add(ms)
        aside = (WIRE, LISTEN)  # these run alongside; no answer waits for them
        slowest_ms = max((ms for stage, ms in frame.timings_ms.items() if stage not in aside), default=0.0)
        metrics.deadline_misses += slowest_ms > FRAME_MS
        metrics.backlog_frames = frame.backlog_frames
        metrics.most_backlog_frames = max(metrics.most_backlog_frames, frame.backlog_frames)
        metrics.dropped_frames = frame.dropped_frames  # totals over the whole call, not increments
        metrics.untranscribed_frames = frame.untranscribed_frames

    def _playout(self, frame: PlayoutMetricsFrame) -> None:
        metrics = self.metrics
        metrics.playout_lead_ms = frame.lead_ms
        metrics.trimmed_ms = frame.trimmed_ms
        metrics.underruns, metrics.underrun_ms = frame.underruns, frame.underrun_ms

    def _audio_leaves(self) -> None:
        metrics = self.metrics
        metrics.frames += 1
        metrics.delay_ms = sum(metrics.delay_parts_ms.values())
        metrics.delay.add(metrics.delay_ms)
        metrics.processing.add(metrics.processing_ms)
        metrics.playout_lead.add(metrics.playout_lead_ms)
