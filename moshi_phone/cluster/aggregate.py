"""Aggregation of the status and the metrics of all workers. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from moshi_phone.access.refusals import RefusalCounts
from moshi_phone.cluster.fleet import WorkerState, state_of
from moshi_phone.cluster.worker_client import WorkerReport
from moshi_phone.server.web.prometheus import refusals_metric
from moshi_phone.server.web.server_status import LoadStatus, Phase, ServerStatus

NOBODY = "No worker takes calls now; the cluster's log says why."


@dataclass(frozen=True)
class WorkerStatus:
    """One worker in the status of its cluster.

    Attributes:
        name: w1, w2, ….
        state: its state, from its last report.
        report: its last report; None if it does not answer.
    """

    name: str
    state: WorkerState
    report: WorkerReport | None

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON; a worker that does not answer has a name and a state only."""
        status = self.report.status if self.report else None
        about = {"name": self.name, "state": self.state}
        if self.report is None:
            return about
        return about | {
            "capacity": self.report.capacity,
            "sessions": self.report.sessions,
            "calls": status.calls if status else 0,
            "version": status.version if status else None,
        }


@dataclass(frozen=True, kw_only=True)
class ClusterStatus(ServerStatus):
    """The sum of all workers, and each of them.

    Attributes:
        workers: all workers, in the order of their numbers.
    """

    workers: Sequence[WorkerStatus]

    def health(self, *, is_public: bool) -> dict[str, Any]:
        """See ``ServerStatus``. Strangers get the number of workers by state, not their names."""
        workers = (
            Counter(worker.state for worker in self.workers)
            if is_public
            else [worker.as_json() for worker in self.workers]
        )
        return super().health(is_public=is_public) | {"workers": workers}

    def overview(self) -> dict[str, Any]:
        """See ``ServerStatus``."""
        return super().overview() | {"workers": [worker.as_json() for worker in self.workers]}


def aggregate_status(
    reports: Mapping[str, WorkerReport | None], closing: str | None, refused: Mapping[str, int]
) -> ClusterStatus:
    """Add up the status of all workers.

    Args:
        reports: each worker's last report, by its name; None for one that does not answer.
        closing: why no calls are accepted, or None while they are.
        refused: number of calls that the gateways have refused, by cause.
    """
    workers = [
        WorkerStatus(name, state_of(reports[name]), reports[name]) for name in sorted(reports, key=_number)
    ]
    answering = [report for report in reports.values() if report]
    every = [report.status for report in answering if report.status]
    taking = [report.status for report in answering if report.status and report.takes_calls]
    refusal = closing or (None if taking else NOBODY)
    phase = Phase.CLOSING if closing else _phase({worker.state for worker in workers})
    all_refused = Counter(refused)
    for status in every:
        all_refused.update(status.refused)
    return ClusterStatus(
        phase=phase,
        engine=", ".join(sorted({status.engine for status in every})),
        engine_reason=next((status.engine_reason for status in every), ""),
        refusal=refusal,
        failure=refusal if phase is Phase.ERROR else None,
        capabilities=_union(status.capabilities for status in taking),
        supported_overrides=_union(status.supported_overrides for status in taking),
        # Draining workers still have sessions, but no capacity for new calls.
        capacity=sum(status.capacity for status in taking),
        sessions=sum(status.sessions for status in every),
        reserved=sum(status.reserved for status in every),
        free=sum(status.free for status in taking),
        calls=sum(status.calls for status in every),
        served=sum(status.served for status in every),
        lost=sum(status.lost for status in every),
        load=_worst_load([status.load for status in every]),
        refused=dict(all_refused),
        has_history=True,
        workers=workers,
    )


def _phase(states: Set[WorkerState]) -> Phase:
    if WorkerState.READY in states:
        return Phase.READY  # also while every worker is overloaded
    return Phase.LOADING if WorkerState.STARTING in states else Phase.ERROR


def _worst_load(loads: Sequence[LoadStatus]) -> LoadStatus:
    """Return the maximum of each load metric over all workers."""
    return LoadStatus(
        lag_ms=max((load.lag_ms for load in loads), default=0.0),
        deadline_misses=max((load.deadline_misses for load in loads), default=0.0),
        overloaded=any(load.overloaded for load in loads),
    )


def _union(lists: Iterable[Sequence[str]]) -> list[str]:
    return sorted(set[str]().union(*lists))


# Sorts w10 after w9.
def _number(name: str) -> tuple[int, str]:
    return int("".join(c for c in name if c.isdigit()) or 0), name


def merged_metrics(
    texts: Mapping[str, str], states: Mapping[str, WorkerState], refusals: Mapping[str, RefusalCounts]
) -> bytes:
    """Merge the workers' metrics into one text in Prometheus' format.

    Args:
        texts: each worker's ``/metrics`` text, by its name.
        states: each worker's state, by its name.
        refusals: each gateway's refusals, by its name, which becomes the label ``worker``.
    """
    registry = CollectorRegistry()
    registry.register(_Merged(texts, states, refusals))
    return generate_latest(registry)


class _Merged(Collector):
    def __init__(
        self,
        texts: Mapping[str, str],
        states: Mapping[str, WorkerState],
        refusals: Mapping[str, RefusalCounts],
    ) -> None:
        self._texts = texts
        self._states = states
        self._refusals = refusals

    def collect(self) -> Iterator[Metric]:
        workers = GaugeMetricFamily("moshi_workers", "Workers of the cluster.", labels=["state"])
        for state in WorkerState:
            workers.add_metric([state], sum(one is state for one in self._states.values()))
        yield workers
        # One family for each name: the label ``worker`` distinguishes the workers' samples.
        families = dict[str, Metric]()
        for worker, text in self._texts.items():
            for family in text_string_to_metric_families(text):
                merged = families.setdefault(
                    family.name, Metric(family.name, family.documentation, family.type)
                )
                for sample in family.samples:
                    merged.add_sample(sample.name, {"worker": worker, **sample.labels}, sample.value)
        # Gateways have no /metrics of their own: their refusals join the workers' family.
        family = families.setdefault("moshi_refusals", refusals_metric({}))
        for gateway, counts in self._refusals.items():
            for sample in refusals_metric(counts).samples:
                family.add_sample(sample.name, {"worker": gateway, **sample.labels}, sample.value)
        yield from families.values()
