from __future__ import annotations

from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from moshi_phone.server.calls.call import Calls
from moshi_phone.server.web.metrics import metrics
from moshi_phone.telephony.media_stream import Start
from tests.support.fake_engines import FakeEngine

START = Start("MZ1", "CA1", "AC1", {}, {})


def samples(calls: Calls) -> dict[str, float]:
    """What a scrape gives, by name and labels."""
    text = generate_latest(metrics(calls, FakeEngine(capacity=3))).decode()
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
    told = samples(calls)
    assert told["moshi_delay_seconds_bucket{le=0.08}"] == 1
    assert told["moshi_delay_seconds_bucket{le=0.1}"] == 2
    assert told["moshi_delay_seconds_bucket{le=+Inf}"] == told["moshi_delay_seconds_count"] == 3
    assert told["moshi_delay_seconds_sum"] == 5.12
    assert told["moshi_trimmed_seconds_total"] == 1.5


async def test_the_end_of_a_call_changes_no_total() -> None:
    calls = Calls()
    call = calls.begin(START)
    call.observations.metrics.underruns = 2
    before = samples(calls)
    calls.finish(call)
    after = samples(calls)
    assert before["moshi_playout_underruns_total"] == after["moshi_playout_underruns_total"] == 2
    assert (before["moshi_calls_running"], after["moshi_calls_running"]) == (1, 0)
    assert (before["moshi_calls_total"], after["moshi_calls_total"]) == (0, 1)


async def test_refusals_by_cause() -> None:
    calls = Calls()
    calls.refused["token"] += 2
    assert samples(calls)["moshi_refusals_total{cause=token}"] == 2
