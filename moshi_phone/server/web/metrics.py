"""Figures for Prometheus, with its official client library: what ``GET /metrics`` answers.

The calls' own metrics are added up at each scrape, so that both always agree and a frame costs nothing more.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from moshi_phone.audio.histogram import Histogram
from moshi_phone.engines.duplex import DuplexEngine
from moshi_phone.runtime.version import VERSION
from moshi_phone.server.calls.call import Calls

_BUCKETS_MS = (5, 10, 20, 40, 60, 80, 100, 150, 200, 300, 400, 600, 800, 1000, 2000)
"""Finest around 80 ms, where a frame stops being in time, and 300 ms, the target of the delay."""


def metrics(calls: Calls, engine: DuplexEngine) -> CollectorRegistry:
    """Make a registry of all metrics of this process.

    Args:
        calls: those that run and have run.
        engine: who answers them.
    """
    registry = CollectorRegistry()  # not the library's global one, which two servers in a process would share
    registry.register(_PhoneCollector(calls, engine))
    ProcessCollector(registry=registry)
    return registry


class _PhoneCollector(Collector):
    """Reads at each scrape what the calls count anyway."""

    def __init__(self, calls: Calls, engine: DuplexEngine) -> None:
        self._calls = calls
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        calls, engine, totals = self._calls, self._engine, self._calls.metrics()
        yield CounterMetricFamily("moshi_calls", "Calls that have ended.", value=calls.served)
        yield GaugeMetricFamily("moshi_calls_running", "Calls that run.", value=len(calls.running))
        yield GaugeMetricFamily("moshi_sessions", "Sessions that are open.", value=engine.running)
        yield GaugeMetricFamily("moshi_capacity", "Sessions that can be.", value=engine.capacity)
        is_ready = calls.closing is None and engine.error is None
        yield GaugeMetricFamily(
            "moshi_ready", "Whether calls are taken, as in /healthz.", value=float(is_ready)
        )
        yield CounterMetricFamily(
            "moshi_lost_calls", "Calls that ended because their session broke.", value=engine.lost_calls
        )
        yield CounterMetricFamily(
            "moshi_turned_away", "Callers for whom no session was free.", value=calls.turned_away
        )
        if engine.servers:
            yield from _servers(engine)
        refused = CounterMetricFamily("moshi_refusals", "Streams that were not let in.", labels=["cause"])
        for cause, count in calls.refused.items():
            refused.add_metric([cause], count)
        yield refused
        stages = HistogramMetricFamily(
            "moshi_stage_seconds", "How long a stage of the engine took.", labels=["stage"]
        )
        for stage, histogram in totals.stages.items():
            _add(stages, histogram, stage)
        yield stages
        delay = HistogramMetricFamily(
            "moshi_delay_seconds", "From the caller's frame to the answer at the ear, less the network."
        )
        yield _add(delay, totals.delay)
        lead = HistogramMetricFamily("moshi_playout_lead_seconds", "What was left to play before a frame.")
        yield _add(lead, totals.playout_lead)
        for name, help_, value in (
            ("deadline_misses", "Frames of which a stage took longer than 80 ms.", totals.deadline_misses),
            ("dropped_frames", "Frames of callers that were never answered.", totals.dropped_frames),
            (
                "skipped_frames",
                "Frames of callers that were not listened to for words, for want of time.",
                totals.skipped_frames,
            ),
            (
                "unsent_messages",
                "Messages dropped because the phone company took no audio.",
                totals.unsent_messages,
            ),
            ("trimmed_seconds", "Silence taken out to keep the talk quick.", totals.trimmed_ms / 1000),
            ("playout_underruns", "Times that an ear ran dry.", totals.underruns),
            ("playout_underrun_seconds", "For how long ears were dry.", totals.underrun_ms / 1000),
        ):
            yield CounterMetricFamily(f"moshi_{name}", help_, value=value)
        yield InfoMetricFamily("moshi_phone", "What runs.", value={"version": VERSION, "engine": engine.name})


def _servers(engine: DuplexEngine) -> Iterator[Metric]:
    up = GaugeMetricFamily("moshi_server_up", "Whether a server gets calls.", labels=["server"])
    calls = GaugeMetricFamily("moshi_server_calls", "Calls that a server holds.", labels=["server"])
    for server in engine.servers:
        up.add_metric([server.name], float(server.error is None))
        calls.add_metric([server.name], server.calls)
    yield up
    yield calls


def _add(family: HistogramMetricFamily, histogram: Histogram, *labels: str) -> HistogramMetricFamily:
    # Each bucket ends where a slot of the histogram does, so these counts are exact.
    buckets = [(str(ms / 1000), float(histogram.up_to(ms))) for ms in _BUCKETS_MS]
    family.add_metric(labels, [*buckets, ("+Inf", float(histogram.count))], histogram.total_ms / 1000)
    return family
