from __future__ import annotations

import json

from moshi_phone.records.call_metrics import CallMetrics, CallObservations


def call(delay_ms: float, stage: str) -> CallMetrics:
    metrics = CallMetrics(
        frames=10, backlog_frames=2, dropped_frames=1, untranscribed_frames=3,
        unsent_messages=5, trimmed_ms=40.0,
        underruns=2, underrun_ms=12.0, deadline_misses=4,
    )  # fmt: skip
    metrics.delay.add(delay_ms)
    metrics.playout_lead.add(delay_ms / 2)
    metrics.stages[stage] = metrics.delay
    return metrics


def test_metrics_of_calls_add_up() -> None:
    total = CallMetrics()
    total.include(call(100, "encode"))
    total.include(call(300, "decode"))
    assert (total.frames, total.dropped_frames, total.untranscribed_frames) == (20, 2, 6)
    assert total.unsent_messages == 10
    assert (total.trimmed_ms, total.underruns, total.underrun_ms, total.deadline_misses) == (80.0, 4, 24.0, 8)
    assert (total.delay.count, total.delay.max_ms, total.playout_lead.max_ms) == (2, 300, 150)
    assert {stage: histogram.max_ms for stage, histogram in total.stages.items()} == {
        "encode": 100,
        "decode": 300,
    }


def test_current_values_do_not_add_up() -> None:
    total = CallMetrics()
    total.include(call(100, "encode"))
    assert total.backlog_frames == 0
    assert total.delay_ms == 0.0


def test_adding_up_does_not_change_the_call() -> None:
    total, one = CallMetrics(), call(100, "encode")
    total.include(one)
    total.include(call(300, "encode"))
    assert one.stages["encode"].max_ms == 100


def test_the_summary_is_json() -> None:
    summary = json.loads(json.dumps(call(100, "encode").summary()))
    assert summary["stages"]["encode"]["p50"] == 100
    assert summary["deadline_misses"] == 4


def test_calls_share_no_metrics() -> None:
    one, other = CallObservations(), CallObservations()
    one.metrics.frames = 3
    one.transcript.add("Hello.", 0.0)
    one.transcript.close()
    assert other.metrics.frames == 0
    assert other.transcript.lines == []
    assert one.kept is not other.kept
