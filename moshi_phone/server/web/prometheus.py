"""The server's metrics in Prometheus' format."""

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

from moshi_phone.access.refusals import RefusalCounts
from moshi_phone.audio.histogram import Histogram
from moshi_phone.conversation.metrics import ConversationMetrics
from moshi_phone.engines.duplex import DuplexEngine
from moshi_phone.records.call_metrics import CallMetrics
from moshi_phone.runtime.version import VERSION
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.web.health import status_of
from moshi_phone.server.web.server_status import ServerStatus

_BUCKETS_MS = (5, 10, 20, 40, 60, 80, 90, 100, 120, 150, 200, 300, 380, 500, 600, 800, 1000, 2000)
"""Finest around 80 ms, the deadline of a frame and the least delay; 380 ms is the limit of the delay."""


def metrics(state: ServerState) -> CollectorRegistry:
    """Create a registry with all metrics of this process.

    Args:
        state: shared state of the server.
    """
    registry = CollectorRegistry()  # not the library's global one, which two servers in a process would share
    registry.register(_PhoneCollector(state))
    ProcessCollector(registry=registry)  # CPU, memory and open files
    return registry


class _PhoneCollector(Collector):
    """Reads the calls' own counters at each scrape."""

    def __init__(self, state: ServerState) -> None:
        self._state = state

    def collect(self) -> Iterator[Metric]:
        engine = self._state.engine
        yield from _server(status_of(self._state))
        if engine.step_times:  # only engines with a batch have step times
            yield _steps(engine)
        if engine.servers:  # only engines on other machines have servers
            yield from _servers(engine)
        yield refusals_metric(self._state.refusals.counts)
        # Sums over ended and running calls: no counter falls when a call ends.
        totals = self._state.calls.metrics()
        yield from _timing(totals)
        yield from _conversation(totals.conversation)
        yield from _losses(totals)
        yield InfoMetricFamily(
            "moshi_phone", "Version and engine.", value={"version": VERSION, "engine": engine.name}
        )


def _server(status: ServerStatus) -> Iterator[Metric]:
    yield CounterMetricFamily("moshi_calls", "Calls that have ended.", value=status.served)
    yield GaugeMetricFamily("moshi_calls_running", "Running calls.", value=status.calls)
    yield GaugeMetricFamily("moshi_sessions", "Open sessions.", value=status.sessions)
    yield GaugeMetricFamily("moshi_capacity", "Maximum number of sessions.", value=status.capacity)
    yield GaugeMetricFamily(
        "moshi_ready", "Whether calls are accepted, as in /healthz.", value=float(status.ready)
    )
    yield GaugeMetricFamily(
        "moshi_event_loop_lag_seconds",
        "Delay of a timer, the 95th percentile of five seconds.",
        value=status.load.lag_ms / 1000,
    )
    yield GaugeMetricFamily(
        "moshi_deadline_miss_ratio",
        "Share of frames that took longer than 80 ms, of five seconds.",
        value=status.load.deadline_misses,
    )
    yield CounterMetricFamily(
        "moshi_lost_calls", "Calls that ended because their session failed.", value=status.lost
    )


def _timing(totals: CallMetrics) -> Iterator[Metric]:
    stages = HistogramMetricFamily(
        "moshi_stage_seconds", "Duration of a stage of the engine.", labels=["stage"]
    )
    for stage, histogram in totals.stages.items():
        _add(stages, histogram, stage)
    yield stages
    delay = HistogramMetricFamily(
        "moshi_delay_seconds",
        "Mouth to ear, without the network: the frame's 80 ms, filters, processing and playout lead.",
    )
    yield _add(delay, totals.delay)
    processing = HistogramMetricFamily(
        "moshi_processing_seconds",
        "From the end of a caller's frame to the engine's step; part of the delay.",
    )
    yield _add(processing, totals.processing)
    lead = HistogramMetricFamily("moshi_playout_lead_seconds", "Audio left to play when a frame is sent.")
    yield _add(lead, totals.playout_lead)


def _losses(totals: CallMetrics) -> Iterator[Metric]:
    for name, help_, value in (
        ("deadline_misses", "Frames of which a stage took longer than 80 ms.", totals.deadline_misses),
        (
            "dropped_frames",
            "Frames of callers that were dropped because the engine was behind.",
            totals.dropped_frames,
        ),
        (
            "skipped_frames",
            "Frames of callers that were not transcribed, for lack of time.",
            totals.untranscribed_frames,
        ),
        (
            "unsent_messages",
            "Messages dropped because the connection was blocked.",
            totals.unsent_messages,
        ),
        ("echoing_calls", "Calls in which the phone returned the bot's voice.", totals.echoing_calls),
        ("trimmed_seconds", "Silence removed to shorten the delay.", totals.trimmed_ms / 1000),
        ("playout_underruns", "Times that the phone had no audio to play.", totals.underruns),
        ("playout_underrun_seconds", "How long phones had no audio to play.", totals.underrun_ms / 1000),
    ):
        yield CounterMetricFamily(f"moshi_{name}", help_, value=value)


def refusals_metric(counts: RefusalCounts) -> Metric:
    """Return the counter of all refusals. docs/access.md explains each cause."""
    family = CounterMetricFamily("moshi_refusals", "Calls that were refused.", labels=["where", "cause"])
    for where, causes in counts.items():
        for cause, count in causes.items():
            family.add_metric([where, cause], count)
    return family


def _conversation(talk: ConversationMetrics) -> Iterator[Metric]:
    response = HistogramMetricFamily(
        "moshi_response_seconds", "From the end of a caller's turn to the bot's next start, at the ear."
    )
    yield _add(response, talk.response)
    stop = HistogramMetricFamily(
        "moshi_stop_seconds", "From the start of an interruption to the bot's end, at the ear."
    )
    yield _add(stop, talk.stop)
    for name, help_, value in (
        ("turns", "Turns of callers.", talk.turns),
        ("unanswered_turns", "Turns that the bot did not answer.", talk.unanswered_turns),
        ("interruptions", "Turns that began while the bot spoke.", talk.interruptions),
        ("takeovers_in_pauses", "Pauses within a turn in which the bot took it.", talk.takeovers_in_pauses),
        (
            "backchannel_stops",
            'Times that a backchannel ("mm-hm") made the bot stop.',
            talk.backchannel_stops,
        ),
        ("mutes", "Times that the bot left a caller without an answer for --mute-secs.", talk.mutes),
        ("repetitions", "Times that the bot began to repeat itself.", talk.repetitions),
    ):
        yield CounterMetricFamily(f"moshi_{name}", help_, value=value)


def _servers(engine: DuplexEngine) -> Iterator[Metric]:
    up = GaugeMetricFamily("moshi_server_up", "Whether a server accepts calls.", labels=["server"])
    calls = GaugeMetricFamily("moshi_server_calls", "Calls on a server.", labels=["server"])
    for server in engine.servers:
        up.add_metric([server.name], float(server.error is None))
        calls.add_metric([server.name], server.calls)
    yield up
    yield calls


def _steps(engine: DuplexEngine) -> Metric:
    """Return step durations, labelled by the number of calls in the step."""
    steps = HistogramMetricFamily(
        "moshi_step_seconds",
        "Duration of one step of the model, by the number of calls in it.",
        labels=["rows"],
    )
    for rows, histogram in engine.step_times.items():
        # Otherwise each number of calls that never occurred would add a row of zeros.
        if histogram.count:
            _add(steps, histogram, str(rows))
    return steps


def _add(family: HistogramMetricFamily, histogram: Histogram, *labels: str) -> HistogramMetricFamily:
    # Each bucket ends at a slot boundary of the histogram, so these counts are exact.
    buckets = [(str(ms / 1000), float(histogram.cumulative_count(ms))) for ms in _BUCKETS_MS]
    family.add_metric(labels, [*buckets, ("+Inf", float(histogram.count))], histogram.total_ms / 1000)
    return family
