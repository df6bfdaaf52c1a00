"""The metrics of all workers in one answer, each with the label ``worker``. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from moshi_phone.cluster.fleet import WorkerState


def merged_metrics(texts: Mapping[str, str], states: Mapping[str, WorkerState]) -> bytes:
    """Put what each worker tells into one text, in Prometheus' format.

    Args:
        texts: what each worker's ``/metrics`` would say, by its name.
        states: where in its life each worker is, by its name.
    """
    registry = CollectorRegistry()
    registry.register(_Merged(texts, states))
    return generate_latest(registry)


class _Merged(Collector):
    def __init__(self, texts: Mapping[str, str], states: Mapping[str, WorkerState]) -> None:
        self._texts = texts
        self._states = states

    def collect(self) -> Iterator[Metric]:
        workers = GaugeMetricFamily("moshi_workers", "Workers of the cluster.", labels=["state"])
        for state in WorkerState:
            workers.add_metric([state], sum(one is state for one in self._states.values()))
        yield workers
        families = dict[str, Metric]()
        for worker, text in self._texts.items():
            for family in text_string_to_metric_families(text):
                merged = families.setdefault(
                    family.name, Metric(family.name, family.documentation, family.type)
                )
                for sample in family.samples:
                    merged.add_sample(sample.name, {"worker": worker, **sample.labels}, sample.value)
        yield from families.values()
