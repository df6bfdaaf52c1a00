"""``/metrics`` for Prometheus, ``/calls`` for programs, and event streams for the page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

from fastapi import APIRouter, Depends, HTTPException, Response
from fastapi.responses import JSONResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.requests import HTTPConnection

from moshi_phone.access.refusals import RefusalCounts
from moshi_phone.audio.histogram import Histogram
from moshi_phone.conversation.metrics import ConversationMetrics
from moshi_phone.engines.duplex import DuplexEngine
from moshi_phone.runtime.version import VERSION
from moshi_phone.server.calls.call import Call
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.calls.summary import words
from moshi_phone.server.web.calls_source import CallsSource
from moshi_phone.server.web.health import status_of

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
        engine, status = self._state.engine, status_of(self._state)
        # Sums over ended and running calls: no counter falls when a call ends.
        totals = self._state.calls.metrics()
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
        if engine.step_times:  # only engines with a batch have step times
            yield _steps(engine)
        if engine.servers:  # only engines on other machines have servers
            yield from _servers(engine)
        yield refusals_metric(self._state.refusals.counts)
        stages = HistogramMetricFamily(
            "moshi_stage_seconds", "How long a stage of the engine took.", labels=["stage"]
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
        lead = HistogramMetricFamily("moshi_playout_lead_seconds", "What was left to play before a frame.")
        yield _add(lead, totals.playout_lead)
        yield from _conversation(totals.conversation)
        for name, help_, value in (
            ("deadline_misses", "Frames of which a stage took longer than 80 ms.", totals.deadline_misses),
            ("dropped_frames", "Frames of callers that were never answered.", totals.dropped_frames),
            (
                "skipped_frames",
                "Frames of callers that were not listened to for words, for want of time.",
                totals.untranscribed_frames,
            ),
            (
                "unsent_messages",
                "Messages dropped because the phone company took no audio.",
                totals.unsent_messages,
            ),
            ("echoing_calls", "Calls in which the phone returned the bot's voice.", totals.echoing_calls),
            ("trimmed_seconds", "Silence taken out to keep the talk quick.", totals.trimmed_ms / 1000),
            ("playout_underruns", "Times that an ear ran dry.", totals.underruns),
            ("playout_underrun_seconds", "For how long ears were dry.", totals.underrun_ms / 1000),
        ):
            yield CounterMetricFamily(f"moshi_{name}", help_, value=value)
        yield InfoMetricFamily("moshi_phone", "What runs.", value={"version": VERSION, "engine": engine.name})


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
        ("backchannel_stops", 'Times that a "mm-hm" made the bot stop.', talk.backchannel_stops),
        ("mutes", "Times that the bot left a caller without an answer for --mute-secs.", talk.mutes),
        ("repetitions", "Times that the bot began to repeat itself.", talk.repetitions),
    ):
        yield CounterMetricFamily(f"moshi_{name}", help_, value=value)


def _servers(engine: DuplexEngine) -> Iterator[Metric]:
    up = GaugeMetricFamily("moshi_server_up", "Whether a server gets calls.", labels=["server"])
    calls = GaugeMetricFamily("moshi_server_calls", "Calls that a server holds.", labels=["server"])
    for server in engine.servers:
        up.add_metric([server.name], float(server.error is None))
        calls.add_metric([server.name], server.calls)
    yield up
    yield calls


def _steps(engine: DuplexEngine) -> Metric:
    """Return step durations, labelled by the number of calls in the step."""
    steps = HistogramMetricFamily(
        "moshi_step_seconds", "How long one step of the model took, by the calls in it.", labels=["rows"]
    )
    for rows, histogram in engine.step_times.items():
        # A number of calls that never occurred would add a row of zeros for each bucket.
        if histogram.count:
            _add(steps, histogram, str(rows))
    return steps


def _add(family: HistogramMetricFamily, histogram: Histogram, *labels: str) -> HistogramMetricFamily:
    # Each bucket ends at a slot boundary of the histogram, so these counts are exact.
    buckets = [(str(ms / 1000), float(histogram.cumulative_count(ms))) for ms in _BUCKETS_MS]
    family.add_metric(labels, [*buckets, ("+Inf", float(histogram.count))], histogram.total_ms / 1000)
    return family


_LIST_EVERY_S = 1.0  # how often the list of calls is sent
_NO_STORE = {"Cache-Control": "no-store"}  # transcripts stay out of every cache


Check = Callable[[HTTPConnection], Awaitable[None]]


def monitoring_router(calls: CallsSource, check: Check) -> APIRouter:
    """Build the routes that report on calls.

    The list shows only the beginning of each SID. A whole SID is as good as a secret: it gives access to the
    call's transcript, for the call's own page and for a rehearsal.

    Args:
        calls: source of the calls.
        check: raises HTTPException for a client without access.
    """
    router = APIRouter(dependencies=[Depends(check)])

    @router.get("/metrics")
    async def scrape() -> Response:
        """Return all metrics since the start of the process."""
        return Response(await calls.scrape(), media_type=CONTENT_TYPE_LATEST)

    @router.get("/calls")
    async def list_calls() -> dict[str, Any]:
        """Return the running calls with their metrics."""
        return await _overview(calls)

    @router.get("/calls/events", response_class=EventSourceResponse)
    async def follow_calls() -> AsyncIterator[ServerSentEvent]:
        """Stream the same list once a second, until the server is closing and the last call has ended."""
        while True:
            yield ServerSentEvent(event="calls", data=await _overview(calls))
            if calls.is_over():
                return
            # ends early when the start fails, so that the page gets the reason
            await calls.pause(_LIST_EVERY_S)

    @router.get("/calls/{call_sid}")
    async def show_call(call_sid: str) -> JSONResponse:
        """Return one call, running or recently ended: its metrics and transcript."""
        call = await calls.details(call_sid)
        if call is None:
            raise HTTPException(404, "no such call, or it has been over for long")
        return JSONResponse(call, headers=_NO_STORE)

    @router.get("/calls/{call_sid}/events", response_class=EventSourceResponse)
    async def follow_call(call_sid: str) -> AsyncIterator[ServerSentEvent]:
        """Stream one call: ``metrics``, ``words`` and ``turns`` that have changed, finally ``end``."""
        pieces, turns = 0, None  # the page's state so far
        while (update := await calls.update(call_sid, pieces)) and not update.metrics["over"]:
            yield ServerSentEvent(event="metrics", data=update.metrics)
            if update.words is not None:
                yield ServerSentEvent(event="words", data=update.words)
            if update.turns and update.turns != turns:
                yield ServerSentEvent(event="turns", data=update.turns)
            pieces, turns = update.pieces, update.turns
            await asyncio.sleep(calls.update_s)
        # Also for an unknown call: an EventSource without an ``end`` reconnects for ever.
        yield ServerSentEvent(event="end", data=await calls.details(call_sid))

    return router


async def _overview(calls: CallsSource) -> dict[str, Any]:
    running = await calls.running_calls()
    return (await calls.status()).overview() | {"running": running}


def metrics_of(call: Call) -> dict[str, Any]:
    """Return a call's metrics."""
    return {"secs": round(call.secs, 1), "over": call.over} | call.observations.metrics.summary()


def details(call: Call) -> dict[str, Any]:
    """Return a call's metrics and transcript."""
    return {"name": call.name} | metrics_of(call) | {"words": words(call)}
