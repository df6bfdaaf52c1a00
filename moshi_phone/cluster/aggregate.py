"""Aggregation of all workers' calls, health and metrics into one response. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
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
from moshi_phone.runtime.version import VERSION
from moshi_phone.server.web.monitoring import refusals_metric

NOBODY = "No worker takes calls now; the cluster's log says why."


def aggregate_health(
    reports: dict[str, WorkerReport],
    names: Collection[str],
    closing: str | None,
    refused: Mapping[str, int] | None = None,
    *,
    is_public: bool = False,
) -> dict[str, Any]:
    """Return the cluster's health, for ``/healthz``.

    Args:
        reports: of the workers that answer, by name.
        names: of all workers.
        closing: why no calls are taken, or None while they are.
        refused: what the gateways have refused, by cause.
        is_public: whether anyone can read the response. Workers are then counted by state, not named.
    """
    taking = [report for report in reports.values() if report.takes_calls]
    all_refused = Counter[str](refused or {})
    for report in reports.values():
        all_refused.update(report.health.get("refused", {}))
    error = closing or (None if taking else NOBODY)
    return {
        "ready": error is None,
        "error": error,
        "engine": _engines(reports.values()),
        "capabilities": _all_of(taking, "capabilities"),
        "supported_overrides": _all_of(taking, "supported_overrides"),
        "capacity": sum(report.capacity for report in taking),
        "sessions": sum(report.sessions for report in reports.values()),
        "free": sum(report.free for report in taking),
        "calls": _sum(reports.values(), "calls"),
        "served": _sum(reports.values(), "served"),
        "lost": _sum(reports.values(), "lost"),
        "load": _worst_load(reports.values()),
        "refused": dict(all_refused),
        "version": VERSION,
        # Names would tell strangers how the cluster is built.
        "workers": Counter(str(state_of(reports.get(name))) for name in names)
        if is_public
        else [_worker(name, reports.get(name)) for name in sorted(names, key=_number)],
    }


def merged_overview(
    reports: dict[str, WorkerReport],
    names: Collection[str],
    closing: str | None,
    overviews: Sequence[dict[str, Any]],
    refused: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Return the running calls, for ``/calls`` and the page; each names its worker.

    Args:
        reports: of the workers that answer, by name.
        names: of all workers.
        closing: why no calls are taken, or None while they are.
        overviews: each worker's ``/calls`` response, with its name as ``worker``.
        refused: what the gateways have refused, by cause.
    """
    all_ = aggregate_health(reports, names, closing, refused)
    progress = [str(one["progress"]) for one in overviews if one.get("progress")]
    loading = any(state_of(reports.get(name)) is WorkerState.STARTING for name in reports)
    running = [{"worker": one["worker"]} | call for one in overviews for call in one.get("running", ())]
    state = "closing" if closing else "ready" if all_["ready"] else "loading" if loading else "error"
    return {
        "state": state,
        "progress": progress[0] if progress and state == "loading" else None,
        "error": all_["error"] if state == "error" else None,
        "engine": all_["engine"],
        "engine_reason": next((str(one.get("engine_reason", "")) for one in overviews), ""),
        "sessions": all_["sessions"],
        "capacity": all_["capacity"],
        "running": sorted(running, key=lambda call: -float(call["secs"])),
        "served": all_["served"],
        "has_history": False,  # each worker has its own history, which is not merged
        "refused": all_["refused"],
        "workers": all_["workers"],
    }


def _worker(name: str, report: WorkerReport | None) -> dict[str, Any]:
    told = {"name": name, "state": str(state_of(report))}
    if report is None:
        return told
    return told | {
        "capacity": report.capacity,
        "sessions": report.sessions,
        "calls": report.health.get("calls", 0),
        "version": report.health.get("version"),
    }


def _worst_load(reports: Iterable[WorkerReport]) -> dict[str, Any]:
    """Return the maximum of each load metric over all workers."""
    loads = [report.health["load"] for report in reports if "load" in report.health]
    names: dict[str, Any] = {"lag_ms": 0.0, "deadline_misses": 0.0, "overloaded": False}
    return {name: max((load[name] for load in loads), default=least) for name, least in names.items()}


def _engines(reports: Iterable[WorkerReport]) -> str:
    return ", ".join(sorted({str(one.health["engine"]) for one in reports if "engine" in one.health}))


def _sum(reports: Iterable[WorkerReport], what: str) -> int:
    return sum(int(report.health.get(what, 0)) for report in reports)


def _all_of(reports: Iterable[WorkerReport], what: str) -> list[str]:
    return sorted(set[str]().union(*(report.health.get(what, ()) for report in reports)))


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
        # One family for each name: a sample's label ``worker`` tells the workers apart.
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
