from __future__ import annotations

from collections import Counter

import pytest
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from moshi_phone.access.refusal import CAUSES, Refusal, RefusalCause, Where
from moshi_phone.audio.histogram import Histogram
from moshi_phone.server.calls.calls import Calls
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.web.prometheus import metrics
from moshi_phone.telephony.media_stream import Start
from moshi_phone.testing.engine import FakeEngine

START = Start("MZ1", "CA1", "AC1", {}, {})


def test_steps_are_counted_by_batch_size() -> None:
    class Batching(FakeEngine):
        @property
        def step_times(self) -> dict[int, Histogram]:
            return times

    times, engine = {rows: Histogram() for rows in (1, 2, 4)}, Batching()
    for rows, step_ms in ((1, 20.0), (4, 30.0), (4, 50.0)):
        times[rows].add(step_ms)
    text = generate_latest(metrics(ServerState(engine))).decode()
    found = {
        (sample.name, sample.labels["rows"]): sample.value
        for family in text_string_to_metric_families(text)
        if family.name == "moshi_step_seconds"
        for sample in family.samples
        if not sample.name.endswith("_bucket")
    }
    assert found == {
        ("moshi_step_seconds_count", "1"): 1,
        ("moshi_step_seconds_sum", "1"): 0.02,
        ("moshi_step_seconds_count", "4"): 2,
        ("moshi_step_seconds_sum", "4"): pytest.approx(0.08),
    }
    assert b"moshi_step_seconds" not in generate_latest(metrics(ServerState(FakeEngine())))


def samples(calls: Calls) -> dict[str, float]:
    """Return a scrape's values, by name and labels."""
    text = generate_latest(metrics(ServerState(FakeEngine(capacity=3), calls=calls))).decode()
    return {
        sample.name + "".join(f"{{{key}={value}}}" for key, value in sample.labels.items()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_units_are_seconds_and_buckets_add_up() -> None:
    calls = Calls()
    call = calls.begin(START)
    for ms in (30.0, 90.0, 5000.0):
        call.observations.metrics.delay.add(ms)
    call.observations.metrics.trimmed_ms = 1500
    call.observations.metrics.echoing_calls = 1
    told = samples(calls)
    assert told["moshi_delay_seconds_bucket{le=0.08}"] == 1
    assert told["moshi_delay_seconds_bucket{le=0.1}"] == 2
    assert told["moshi_delay_seconds_bucket{le=+Inf}"] == told["moshi_delay_seconds_count"] == 3
    assert told["moshi_delay_seconds_sum"] == 5.12
    assert told["moshi_trimmed_seconds_total"] == 1.5
    assert told["moshi_echoing_calls_total"] == 1


async def test_the_end_of_a_call_does_not_change_totals() -> None:
    calls = Calls()
    call = calls.begin(START)
    call.observations.metrics.underruns = 2
    before = samples(calls)
    calls.finish(call)
    after = samples(calls)
    assert before["moshi_playout_underruns_total"] == after["moshi_playout_underruns_total"] == 2
    assert (before["moshi_calls_running"], after["moshi_calls_running"]) == (1, 0)
    assert (before["moshi_calls_total"], after["moshi_calls_total"]) == (0, 1)


async def test_refusals_are_labelled_by_cause() -> None:
    state = ServerState(FakeEngine())
    state.refusals.note(Where.WEBHOOK, Refusal(RefusalCause.BUSY, "all sessions are taken"))
    counted = refusals_of(state)
    assert counted["webhook", "busy"] == 1
    # All others exist, at zero, so that Prometheus sees a cause's first refusal as an increase.
    assert counted.total() == 1
    assert set(counted) == {(where, cause) for where, causes in CAUSES.items() for cause in causes}


def refusals_of(state: ServerState) -> Counter[tuple[str, str]]:
    text = generate_latest(metrics(state)).decode()
    return Counter(
        {
            (sample.labels["where"], sample.labels["cause"]): int(sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "moshi_refusals_total"
        }
    )
