"""cluster/aggregate.py: one status for many workers."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from moshi_phone.cluster.aggregate import NOBODY, aggregate_status, merged_metrics
from moshi_phone.cluster.fleet import WorkerState
from moshi_phone.cluster.worker_client import WorkerReport
from moshi_phone.runtime.version import VERSION
from moshi_phone.server.web.server_status import LoadStatus, Phase, ServerStatus


def worker(name: str, sessions: int, *, closing: bool = False) -> WorkerReport:
    status = ServerStatus(
        phase=Phase.READY,
        engine="parrot",
        engine_reason="as requested",
        capabilities=["say"],
        supported_overrides=["persona", "voice"],
        capacity=4,
        sessions=sessions,
        free=4 - sessions,
        calls=sessions,
        served=3,
        lost=1,
        load=LoadStatus(lag_ms=float(sessions)),
        refused={"token": 2},
    )
    return WorkerReport(name, closing=closing, status=status)


def test_values_are_summed() -> None:
    reports = {
        "w1": worker("w1", 1),
        "w10": worker("w10", 2),
        "w2": worker("w2", 4, closing=True),
        "w3": None,
    }
    status = aggregate_status(reports, None, {"denied": 1})
    assert (status.phase, status.ready, status.failure) == (Phase.READY, True, None)
    assert (status.capacity, status.sessions, status.free) == (8, 7, 5)
    assert (status.calls, status.served, status.lost) == (7, 9, 3)
    assert (status.refused, status.load.lag_ms) == ({"token": 6, "denied": 1}, 4.0)
    assert (status.engine, status.engine_reason) == ("parrot", "as requested")
    assert (status.capabilities, status.supported_overrides) == (["say"], ["persona", "voice"])


def test_workers_are_named_for_authenticated_readers_only() -> None:
    reports = {"w1": worker("w1", 1), "w10": WorkerReport("w10"), "w2": None}
    status = aggregate_status(reports, None, {})
    named = status.health(is_public=False)["workers"]
    assert named == status.overview()["workers"]
    assert named == [
        {"name": "w1", "state": "ready", "capacity": 4, "sessions": 1, "calls": 1, "version": VERSION},
        {"name": "w2", "state": "dead"},
        {"name": "w10", "state": "starting", "capacity": 0, "sessions": 0, "calls": 0, "version": None},
    ]
    assert status.health(is_public=True)["workers"] == {"ready": 1, "starting": 1, "dead": 1}


def test_phases_of_a_cluster() -> None:
    draining = aggregate_status({"w1": worker("w1", 1, closing=True)}, None, {})
    assert (draining.phase, draining.refusal, draining.failure) == (Phase.ERROR, NOBODY, NOBODY)
    starting = aggregate_status({"w1": WorkerReport("w1")}, None, {})
    assert (starting.phase, starting.refusal, starting.failure) == (Phase.LOADING, NOBODY, None)
    overloaded = WorkerReport("w1", status=ServerStatus(phase=Phase.READY, refusal="overloaded"))
    full = aggregate_status({"w1": overloaded}, None, {})
    assert (full.phase, full.refusal, full.failure) == (Phase.READY, NOBODY, None)
    closing = aggregate_status({"w1": worker("w1", 0)}, "closing down", {})
    assert (closing.phase, closing.refusal, closing.failure) == (Phase.CLOSING, "closing down", None)


def test_metrics_carry_their_worker() -> None:
    text = (
        "# HELP moshi_calls_total Calls.\n# TYPE moshi_calls_total counter\nmoshi_calls_total {}\n"
        "# HELP moshi_stage_seconds Stage.\n# TYPE moshi_stage_seconds histogram\n"
        'moshi_stage_seconds_bucket{{le="0.1",stage="lm"}} 4\n'
        'moshi_stage_seconds_bucket{{le="+Inf",stage="lm"}} 5\n'
        'moshi_stage_seconds_count{{stage="lm"}} 5\nmoshi_stage_seconds_sum{{stage="lm"}} 0.4\n'
    )
    states = {"w1": WorkerState.READY, "w2": WorkerState.READY, "w3": WorkerState.DEAD}
    merged = merged_metrics({"w1": text.format(3), "w2": text.format(4)}, states, {}).decode()
    families = {one.name: one for one in text_string_to_metric_families(merged)}
    calls = {one.labels["worker"]: one.value for one in families["moshi_calls"].samples}
    assert calls == {"w1": 3, "w2": 4}
    assert merged.count("# TYPE moshi_calls_total") == 1
    stages = [one for one in families["moshi_stage_seconds"].samples if one.name.endswith("_count")]
    assert [one.labels for one in stages] == [
        {"worker": "w1", "stage": "lm"},
        {"worker": "w2", "stage": "lm"},
    ]
    workers = {one.labels["state"]: one.value for one in families["moshi_workers"].samples}
    assert workers == {"starting": 0, "ready": 2, "draining": 0, "dead": 1}
