"""Measures a call: how long each frame took, what lies in the buffers, what was lost."""

from __future__ import annotations

from pipecat.frames.frames import Frame, OutputAudioRawFrame

from moshi_phone.audio.formats import FRAME_MS
from moshi_phone.audio.histogram import Histogram
from moshi_phone.engines.duplex import LISTEN, WIRE
from moshi_phone.records.call_metrics import CallMetrics
from processors.frames import EngineMetricsFrame, MulawOutputFrame, PlayoutMetricsFrame, SendMetricsFrame


class Meter:
    """Gathers what the stages say of themselves: a monitor of a ``Tap``.

    The tap may stand anywhere behind the stages that are to be measured, before or behind an encoder. What
    no stage tells stays 0.

    Args:
        metrics: of the call; whoever gave them may read them at any time.
    """

    def __init__(self, metrics: CallMetrics) -> None:
        self.metrics = metrics
        self._engine_delay_ms = 0.0  # of the step whose audio comes next

    def observe(self, frame: Frame) -> None:
        """Take note of a measurement, and count the audio that leaves."""
        if isinstance(frame, (OutputAudioRawFrame, MulawOutputFrame)):
            self._audio_leaves()
        elif isinstance(frame, EngineMetricsFrame):
            self._engine(frame)
        elif isinstance(frame, PlayoutMetricsFrame):
            self._playout(frame)
        elif isinstance(frame, SendMetricsFrame):
            self.metrics.unsent_messages = frame.dropped_messages

    def close(self) -> None:
        """Nothing to finish: the metrics stay."""

    def _engine(self, frame: EngineMetricsFrame) -> None:
        metrics = self.metrics
        self._engine_delay_ms = frame.delay_ms
        for stage, ms in frame.timings_ms.items():
            if stage not in metrics.stages:  # not setdefault, which would make 1,201 slots for every step
                metrics.stages[stage] = Histogram()
            metrics.stages[stage].add(ms)
        aside = (WIRE, LISTEN)  # no answer waits for these
        slowest_ms = max((ms for stage, ms in frame.timings_ms.items() if stage not in aside), default=0.0)
        metrics.deadline_misses += slowest_ms > FRAME_MS
        metrics.backlog_frames = frame.backlog_frames
        metrics.most_backlog_frames = max(metrics.most_backlog_frames, frame.backlog_frames)
        metrics.dropped_frames = frame.dropped_frames  # the stages count over the whole call
        metrics.untranscribed_frames = frame.untranscribed_frames

    def _playout(self, frame: PlayoutMetricsFrame) -> None:
        metrics = self.metrics
        metrics.playout_lead_ms = frame.lead_ms
        metrics.trimmed_ms = frame.trimmed_ms
        metrics.underruns, metrics.underrun_ms = frame.underruns, frame.underrun_ms

    def _audio_leaves(self) -> None:
        metrics = self.metrics
        metrics.frames += 1
        # At the ear a frame waits until all that was sent before it has been played.
        inbound_ms = metrics.echo_canceller_ms + metrics.noise_suppressor_ms
        metrics.delay_ms = inbound_ms + self._engine_delay_ms + metrics.playout_lead_ms
        metrics.delay.add(metrics.delay_ms)
        metrics.playout_lead.add(metrics.playout_lead_ms)
