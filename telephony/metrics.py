"""Figures for Prometheus, with its official client library: what ``GET /metrics`` answers."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from engines.duplex import DuplexEngine
from processors.meter import Step
from telephony.calls import Calls
from telephony.version import VERSION

_SECONDS = (0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 2.0)
"""Finest around 80 ms, where a frame stops being in time, and 300 ms, the target of the delay."""


class Metrics:
    """All figures of this process, since its start.

    Args:
        calls: counts the calls.
        engine: says how many more it can hold.
    """

    def __init__(self, calls: Calls, engine: DuplexEngine) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_CallCounts(calls, engine))
        ProcessCollector(registry=self.registry)
        self._stages = self._histogram("stage_seconds", "How long a stage of the engine took.", ["stage"])
        self._delay = self._histogram(
            "delay_seconds",
            "From the end of the caller's frame to the answer at the ear, less the network.",
        )
        self._lead = self._histogram("playout_lead_seconds", "What was left to play before a frame was sent.")
        self._overruns = self._counter("step_overruns", "Frames of which a stage took longer than 80 ms.")
        self._dropped = self._counter("dropped_frames", "Frames of callers that were never answered.")
        self._trimmed = self._counter("trimmed_seconds", "Silence taken out to keep the talk quick.")
        self._gaps = self._counter("gaps", "Times that an ear ran dry in a call.")
        self._gap_seconds = self._counter("gap_seconds", "For how long.")

    def step(self, step: Step) -> None:
        """Take a frame of a call into account."""
        for stage, ms in step.timings_ms.items():
            self._stages.labels(stage).observe(ms / 1000)
        self._delay.observe(step.delay_ms / 1000)
        self._lead.observe(step.lead_ms / 1000)
        self._overruns.inc(step.overran)
        self._dropped.inc(step.newly_dropped)
        self._trimmed.inc(step.newly_trimmed_ms / 1000)
        if step.gap_ms > 0:
            self._gaps.inc()
            self._gap_seconds.inc(step.gap_ms / 1000)

    def text(self) -> bytes:
        """Write all of it in Prometheus' text format."""
        return generate_latest(self.registry)

    def _histogram(self, name: str, help_: str, labels: list[str] | None = None) -> Histogram:
        return Histogram(f"moshi_{name}", help_, labels or [], buckets=_SECONDS, registry=self.registry)

    def _counter(self, name: str, help_: str) -> Counter:
        return Counter(f"moshi_{name}", help_, registry=self.registry)


class _CallCounts(Collector):
    """Reads at each scrape what the line counts anyway."""

    def __init__(self, calls: Calls, engine: DuplexEngine) -> None:
        self._calls = calls
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily("moshi_calls", "Calls that have ended.", value=self._calls.served)
        yield GaugeMetricFamily("moshi_calls_running", "Calls that run.", value=len(self._calls.running))
        yield GaugeMetricFamily("moshi_sessions", "Sessions that are open.", value=self._engine.running)
        yield GaugeMetricFamily("moshi_capacity", "Sessions that can be.", value=self._engine.capacity)
        refused = CounterMetricFamily("moshi_refusals", "Streams that were not let in.", labels=["cause"])
        for cause, count in self._calls.refused.items():
            refused.add_metric([cause], count)
        yield refused
        info = {"version": VERSION, "engine": self._engine.name}
        yield InfoMetricFamily("moshi_phone", "What runs here.", value=info)
