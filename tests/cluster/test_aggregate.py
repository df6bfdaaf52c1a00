"""cluster/aggregate.py and merged_metrics.py: many workers, one answer."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from moshi_phone.cluster.aggregate import NOBODY, aggregate_health, merged_metrics, merged_overview
from moshi_phone.cluster.fleet import WorkerState
from moshi_phone.cluster.worker_client import WorkerReport


def worker(name: str, sessions: int, *, closing: bool = False) -> WorkerReport:
    health = {
        "ready": not closing,
        "engine": "parrot",
        "capabilities": ["say"],
        "supported_overrides": ["persona", "voice"],
        "calls": sessions,
        "served": 3,
        "lost": 1,
        "refused": {"token": 2},
        "version": "0.1.0",
    }
    return WorkerReport(
        name,
        loaded=True,
        closing=closing,
        capacity=4,
        sessions=sessions,
        health=health,
    )


def overview(name: str, sessions: int) -> dict[str, object]:
    running = [{"name": f"CA{name}{n}", "secs": float(n)} for n in range(sessions)]
    return {"worker": name, "running": running, "engine_reason": "as asked", "progress": None}


def test_sums() -> None:
    reports = {"w1": worker("w1", 1), "w10": worker("w10", 2), "w2": worker("w2", 4, closing=True)}
    told = aggregate_health(reports, ["w1", "w2", "w3", "w10"], None)
    assert told["ready"]
    assert (told["capacity"], told["sessions"], told["free"]) == (8, 7, 5)
    assert (told["calls"], told["served"], told["lost"], told["refused"]) == (7, 9, 3, {"token": 6})
    assert told["engine"] == "parrot"
    assert (told["capabilities"], told["supported_overrides"]) == (["say"], ["persona", "voice"])
    assert [(one["name"], one["state"]) for one in told["workers"]] == [
        ("w1", "ready"),
        ("w2", "draining"),
        ("w3", "dead"),
        ("w10", "ready"),
    ]


def test_nobody_takes_calls() -> None:
    told = aggregate_health({"w1": worker("w1", 1, closing=True)}, ["w1"], None)
    assert (told["ready"], told["error"]) == (False, NOBODY)
    assert merged_overview({}, ["w1"], None, [])["state"] == "error"
    assert merged_overview({"w1": WorkerReport("w1")}, ["w1"], None, [])["state"] == "loading"
    assert merged_overview({"w1": worker("w1", 0)}, ["w1"], "closing down", [])["state"] == "closing"


def test_the_calls_of_all_with_their_workers() -> None:
    reports = {"w1": worker("w1", 1), "w2": worker("w2", 2)}
    told = merged_overview(reports, ["w1", "w2"], None, [overview("w1", 1), overview("w2", 2)])
    assert [(one["worker"], one["name"]) for one in told["running"]] == [
        ("w2", "CAw21"),
        ("w1", "CAw10"),
        ("w2", "CAw20"),
    ]


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
