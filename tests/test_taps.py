"""The taps in whole calls, in simulated time: their output, and that they change nothing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from loguru import logger
from numpy.typing import NDArray
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.bursts import talk
from bot import run_call
from moshi_phone.audio import g711, pcm
from moshi_phone.conversation.live import Judge
from moshi_phone.engines.duplex import DuplexEngine
from moshi_phone.records.options import TapOptions
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.settings import Settings
from moshi_phone.server.web.app import create_app
from moshi_phone.server.web.health import status_of
from moshi_phone.server.web.monitoring import details
from moshi_phone.server.web.prometheus import metrics
from moshi_phone.testing.engine import FakeEngine
from tests.support.inline_executor import InlineExecutor
from tests.support.phone import start_message
from tests.support.simulated import SimulatedPhone, run_simulated

CALL_SID = "CA" + "1" * 32


def call(
    engine: DuplexEngine, said: NDArray[np.float32], taps: TapOptions, late_s: tuple[float, ...] = ()
) -> tuple[SimulatedPhone, ServerState]:
    async def main() -> tuple[SimulatedPhone, ServerState]:
        line = ServerState(engine, Settings(taps=taps), judge=Judge(InlineExecutor()))
        await engine.start(lambda _: None)
        phone = SimulatedPhone(create_app(line, run_call), start_message(call_sid=CALL_SID))
        await phone.talk(said, late_s=late_s)
        assert line.files.flush(5)
        return phone, line

    return run_simulated(main())


def stalling(step: int) -> float:
    return 0.7 if step == 50 else 0.01 * (step % 3)


def scraped(line: ServerState) -> str:
    return generate_latest(metrics(line)).decode()


def families(line: ServerState) -> dict[str, float]:
    return {
        sample.name + "".join(f",{value}" for key, value in sorted(sample.labels.items()) if key != "le"): (
            sample.value
        )
        for family in text_string_to_metric_families(generate_latest(metrics(line)).decode())
        for sample in family.samples
    }


def test_a_recording_equals_the_call_s_audio_sample_by_sample(tmp_path: Path) -> None:
    said = talk(10, seed=4).samples
    jitter = tuple(np.random.default_rng(5).uniform(0, 0.015, 500))
    phone, _ = call(FakeEngine(step_secs=stalling), said, TapOptions(record=tmp_path), jitter)
    (path,) = tmp_path.iterdir()
    assert path.name.endswith(f"Z-{CALL_SID}.wav")
    sides, rate_hz = soundfile.read(path, dtype="int16")
    assert rate_hz == 8000
    spoken = np.frombuffer(g711.decode(g711.encode(pcm.to_bytes(said))), "<i2")
    assert np.array_equal(sides[: len(spoken), 0], spoken)
    # The first packets show when the call began, less the jitter of the quickest: within one packet.
    heard = np.frombuffer(g711.decode(phone.playback.heard(phone.playback.start_s + 12).tobytes()), "<i2")
    played = [segment for segment in phone.playback.segments if segment.mulaw]
    assert len(phone.playback.gaps) >= 1
    for segment in played[:-1]:
        voice = heard[segment.heard_sample : segment.end_sample]
        if np.abs(voice).max() < 300:
            continue
        offsets = [
            offset
            for offset in range(-160, 161)
            if np.array_equal(
                sides[segment.heard_sample + offset :][: len(voice), 1],
                voice[: len(sides) - segment.heard_sample - offset],
            )
        ]
        assert offsets, f"what was heard at {segment.heard_sample} is not in the recording"


def test_an_aborted_call_leaves_a_readable_recording_and_its_transcript(tmp_path: Path) -> None:
    options = TapOptions(record=tmp_path / "wav", transcripts=tmp_path / "txt")
    for directory in (tmp_path / "wav", tmp_path / "txt"):
        directory.mkdir()
    call(FakeEngine(fails_at=40), talk(5, seed=4).samples, options)
    (wav,), (jsonl, txt) = (tmp_path / "wav").iterdir(), sorted((tmp_path / "txt").iterdir())
    sides, _ = soundfile.read(wav)
    assert len(sides) >= 38 * 640
    assert np.abs(sides[:, 1]).max() > 0.05
    assert txt.read_text().split()[-1] == "39"
    assert json.loads(jsonl.read_text().splitlines()[-1])["speaker"] == "bot"


def test_taps_do_not_change_the_audio(tmp_path: Path) -> None:
    said = talk(6, seed=4).samples
    plain, _ = call(FakeEngine(), said, TapOptions())
    tapped, _ = call(FakeEngine(), said, TapOptions(record=tmp_path, transcripts=tmp_path))
    assert [(s.heard_sample, s.mulaw) for s in plain.playback.segments] == [
        (s.heard_sample, s.mulaw) for s in tapped.playback.segments
    ]


def test_metrics_parse_and_agree_with_the_call_s_summary() -> None:
    phone, line = call(FakeEngine(step_secs=stalling), talk(8, seed=4).samples, TapOptions())
    (over,) = line.calls.recent
    metrics, told = details(over), families(line)
    assert told["moshi_calls_total"] == 1
    assert told["moshi_calls_running"] == 0
    assert told["moshi_delay_seconds_count"] == metrics["frames"] == metrics["delay"]["count"]
    assert told["moshi_delay_seconds_sum"] * 1000 == pytest.approx(metrics["delay"]["total"], abs=0.01)
    assert told["moshi_playout_lead_seconds_sum"] * 1000 == pytest.approx(
        metrics["playout_lead"]["total"], abs=0.01
    )
    assert told["moshi_stage_seconds_count,fake"] == metrics["stages"]["fake"]["count"]
    assert told["moshi_playout_underruns_total"] == metrics["underruns"] >= 1
    assert told["moshi_playout_underrun_seconds_total"] * 1000 == pytest.approx(
        metrics["underrun_ms"], abs=0.1
    )
    assert told["moshi_trimmed_seconds_total"] * 1000 == pytest.approx(metrics["trimmed_ms"])
    assert told["moshi_dropped_frames_total"] == metrics["dropped_frames"] == 0
    assert metrics["most_backlog_frames"] >= 7
    assert len(phone.playback.gaps) == metrics["underruns"]
    assert metrics["words"][0]["text"].startswith("1 2 3")


def test_the_meter_reports_the_underruns_that_are_heard() -> None:
    jitter = tuple(np.random.default_rng(5).uniform(0, 0.030, 2_000))
    engine = FakeEngine(step_secs=lambda step: 0.7 if step in (50, 200, 400) else 0.01 * (step % 3))
    phone, line = call(engine, talk(40, seed=4).samples, TapOptions(), jitter)
    (over,) = line.calls.recent
    heard_ms = sum(gap.ms for gap in phone.playback.gaps)
    assert heard_ms > 1_500
    assert details(over)["underrun_ms"] == pytest.approx(heard_ms, rel=0.1)


def test_refusals_are_counted_by_cause() -> None:
    engine = FakeEngine(capacity=0)
    _, line = call(engine, np.zeros(1600, np.float32), TapOptions())
    assert families(line)["moshi_refusals_total,busy,stream"] == 1
    assert status_of(line).refused == {"busy": 1}


def test_the_log_has_one_summary_line_per_call() -> None:
    lines: list[str] = []
    sink = logger.add(lines.append, level="INFO", format="{message}")
    try:
        call(FakeEngine(), talk(2, seed=4).samples, TapOptions())
    finally:
        logger.remove(sink)
    (line,) = [line for line in lines if f"call_sid={CALL_SID}" in line]
    assert 'reason="the caller hung up"' in line
    pairs = dict(pair.partition("=")[::2] for pair in line.partition("call_sid=")[2].split() if "=" in pair)
    assert int(pairs["frames"]) >= 24
    assert pairs["dropped"] == "0"


async def test_a_failed_recording_does_not_stop_the_call(tmp_path: Path) -> None:
    gone = TapOptions(record=tmp_path / "gone")
    phone, line = await asyncio.to_thread(call, FakeEngine(), talk(2, seed=4).samples, gone)
    assert line.calls.served == 1
    assert phone.playback.segments
