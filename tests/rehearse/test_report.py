from __future__ import annotations

import json
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import soundfile
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from moshi_phone.conversation.facts import CallFacts
from moshi_phone.conversation.review import review
from moshi_phone.rehearse.checks import CallContext, check
from moshi_phone.rehearse.clip import CALLER_FILE, caller_speech
from moshi_phone.rehearse.measure import measure
from moshi_phone.rehearse.provenance import Provenance
from moshi_phone.rehearse.rehearsal import RehearsalResult, Target, rehearse
from moshi_phone.rehearse.report import write_report
from moshi_phone.rehearse.table import checklist, distributions
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.web.prometheus import metrics
from moshi_phone.testing.engine import FakeEngine
from tests.rehearse import simulated
from tests.support.phone import serving

PROVENANCE = Provenance(
    datetime(2026, 1, 31, 12, 30, tzinfo=UTC), "1.2.3", "a machine, 2 cores", "parrot", {"secs": 6.0}
)
PNG = b"\x89PNG\r\n"


def rehearsed(server: simulated.Server = simulated.mirror) -> RehearsalResult:
    record = simulated.call(server, secs=6)
    found = measure(record, repeats_after_ms=0)
    metrics = {
        "words": [
            {"at_s": 0.5, "text": "Hello."},
            {"at_s": 12.25, "speaker": "caller", "text": "How are you?"},
        ]
    }
    both = np.zeros((8_000, 2), np.int16)
    talk = review([both], CallFacts())
    return RehearsalResult("CA1", record, found, check(CallContext(), record, found), None, metrics, talk)


def text(table: object) -> str:
    console = Console(width=160, record=True, file=StringIO())
    console.print(table)
    return console.export_text()


def test_the_report_of_one_call(tmp_path: Path) -> None:
    call = rehearsed()
    written = write_report(tmp_path / "deep" / "report", [call], PROVENANCE)
    names = [path.name for path in written]
    assert names == ["call.wav", "report.json", "report.md", "call.png", "conversation.png", "transcript.txt"]
    wav, metrics, markdown, picture, conversation, transcript = written
    assert markdown.read_text().startswith("# Test report: report\n")
    assert conversation.read_bytes().startswith(PNG)
    sides, rate_hz = soundfile.read(wav, dtype="float32")
    assert rate_hz == 8000
    assert np.array_equal(sides[:, 0], call.record.said_pcm)
    assert np.array_equal(sides[:, 1], call.record.heard_pcm)
    report = json.loads(metrics.read_text())
    assert report["held"]
    assert (report["date"], report["engine"]) == ("2026-01-31T12:30:00+00:00", "parrot")
    assert (report["version"], report["options"]) == ("1.2.3", {"secs": 6.0})
    assert report["delay_ms"]["p50"] == pytest.approx(110, abs=0.2)
    assert len(report["series"]["delay_ms"]) == 75
    assert {point["key"] for point in report["points"]} >= {"delay", "drift", "duplex"}
    assert picture.read_bytes().startswith(PNG)
    assert transcript.read_text() == "   0.50  bot     Hello.\n  12.25  caller  How are you?\n"


def test_the_report_of_a_refused_call(tmp_path: Path) -> None:
    call = rehearsed(lambda _: [])
    call.record.refused = "1013 busy"
    call.points = check(CallContext(), call.record, call.found)
    call.metrics = None
    *_, picture, transcript = write_report(tmp_path, [call], PROVENANCE)
    assert picture.read_bytes().startswith(PNG)
    assert "put nothing into words" in transcript.read_text()
    assert not call.held


@pytest.mark.slow
def test_the_report_of_several_calls(tmp_path: Path) -> None:
    written = write_report(tmp_path, [rehearsed(), rehearsed(simulated.slow)], PROVENANCE)
    assert written[:2] == [tmp_path / "report.json", tmp_path / "calls.png"]
    assert written[1].read_bytes().startswith(PNG)
    assert (tmp_path / "call-2" / "call.png").exists()
    summary = json.loads(written[0].read_text())
    assert not summary["held"]
    assert summary["machine"] == "a machine, 2 cores"
    assert [call["held"] for call in summary["calls"]] == [True, False]
    (delay,) = (point for point in summary["points"] if point["key"] == "delay")
    assert (delay["held"], delay["judged"], delay["passed"]) == (1, 2, False)
    assert delay["numbers"]["p95_ms"]["by_call"] == pytest.approx([110, 510], abs=1)
    assert delay["numbers"]["p95_ms"]["median"] == pytest.approx(310, abs=1)


def test_the_tables_mark_failures_and_dependence_on_speed() -> None:
    good, slow = rehearsed(), rehearsed(simulated.slow)
    one = text(checklist(slow.points))
    assert "✗" in one
    assert "Delay, mouth to ear *" in one
    several = text(distributions([good, slow]))
    assert "1 of 2 hold" in several
    assert "p95 ms 110, 310, 510" in several


def scraped(line: ServerState) -> str:
    return generate_latest(metrics(line)).decode()


@pytest.mark.slow
async def test_metrics_agree_with_the_report_of_the_same_call(tmp_path: Path) -> None:
    line = ServerState(FakeEngine())
    async with serving(line) as address:
        (call,) = await rehearse(Target(f"ws://{address}/stream"), caller_speech(CALLER_FILE, 2.4))
    write_report(tmp_path, [call], PROVENANCE)
    told = json.loads((tmp_path / "report.json").read_text())["server"]["call"]
    samples = {
        sample.name: sample.value
        for family in text_string_to_metric_families(generate_latest(metrics(line)).decode())
        for sample in family.samples
    }
    assert told["frames"] == samples["moshi_delay_seconds_count"] >= 28
    assert told["delay"]["total"] == pytest.approx(samples["moshi_delay_seconds_sum"] * 1000, abs=0.01)
    assert told["playout_lead"]["total"] == pytest.approx(
        samples["moshi_playout_lead_seconds_sum"] * 1000, abs=0.01
    )
    assert told["stages"]["fake"]["count"] == samples["moshi_stage_seconds_count"]
    assert told["underruns"] == samples["moshi_playout_underruns_total"]
    assert told["dropped_frames"] == samples["moshi_dropped_frames_total"]
    assert call.record.ear.received_samples == told["frames"] * 640 - round(told["trimmed_ms"] * 8)
    assert {point.key: point.passed for point in call.points}["own_voice"] is None  # no token, no webhook
    assert call.record.status_samples
