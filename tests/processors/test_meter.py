from __future__ import annotations

import pytest
from pipecat.frames.frames import OutputAudioRawFrame
from pipecat.processors.frame_processor import FrameDirection
from pipecat.tests.utils import run_test

from moshi_phone.records.call_metrics import CallMetrics
from processors.frames import (
    EngineMetricsFrame,
    FilterDelayFrame,
    MulawOutputFrame,
    PlayoutMetricsFrame,
    SendMetricsFrame,
)
from processors.meter import Meter
from processors.tap import Tap

AUDIO = [
    MulawOutputFrame(b"\xff" * 640),
    OutputAudioRawFrame(bytes(1_280), 8_000, num_channels=1),
    OutputAudioRawFrame(bytes(3_840), 24_000, num_channels=1),
]


@pytest.mark.parametrize("audio", AUDIO)
async def test_the_meter_collects_the_stages_measurements(
    audio: MulawOutputFrame | OutputAudioRawFrame,
) -> None:
    metrics = CallMetrics()
    frames = [
        EngineMetricsFrame(20.0, {"lm": 15.0}, backlog_frames=1, dropped_frames=0),
        PlayoutMetricsFrame(0.0, 0.0, trimmed_ms=0, underruns=0, underrun_ms=0.0),
        audio,
        EngineMetricsFrame(90.0, {"lm": 85.0}, backlog_frames=3, dropped_frames=2),
        PlayoutMetricsFrame(50.0, 0.0, trimmed_ms=0, underruns=0, underrun_ms=0.0),
        audio,
        EngineMetricsFrame(30.0, {"lm": 25.0}, backlog_frames=0, dropped_frames=2),
        PlayoutMetricsFrame(0.0, 0.0, trimmed_ms=10, underruns=1, underrun_ms=40.0),
        audio,
    ]
    down, _ = await run_test(Tap(Meter(metrics)), frames_to_send=frames)
    assert down == frames
    assert metrics.playout_lead.max_ms == pytest.approx(50)
    assert metrics.delay.max_ms == pytest.approx(80 + 140)
    assert (metrics.delay_ms, metrics.playout_lead_ms) == (80 + 30, 0)
    summary = metrics.summary()
    assert summary["frames"] == 3
    assert summary["deadline_misses"] == 1
    assert (summary["backlog_frames"], summary["most_backlog_frames"]) == (0, 3)
    assert (summary["dropped_frames"], summary["trimmed_ms"]) == (2, 10)
    assert (summary["underruns"], summary["underrun_ms"]) == (1, 40)
    assert summary["stages"]["lm"]["total"] == 125
    assert summary["delay"]["total"] == pytest.approx(3 * 80 + 190)
    assert summary["processing"]["total"] == pytest.approx(140)


async def test_the_delay_is_mouth_to_ear_and_has_parts() -> None:
    metrics = CallMetrics(echo_canceller_ms=11, noise_suppressor_ms=9)
    frames = [
        FilterDelayFrame(1.5),
        FilterDelayFrame(1.5),
        EngineMetricsFrame(20.0, {}, 0, 0, filters_ms=13.0),
        PlayoutMetricsFrame(40.0, 0.0, trimmed_ms=0, underruns=0, underrun_ms=0.0),
        AUDIO[0],
    ]
    await run_test(Tap(Meter(metrics)), frames_to_send=frames)
    assert metrics.delay_ms == 80 + 36 + 20 + 40
    parts = {"frame": 80, "filters": 36, "processing": 20, "playout": 40}
    assert metrics.summary()["delay_parts_ms"] == parts


async def test_unreported_measurements_are_absent() -> None:
    metrics = CallMetrics()
    await run_test(Tap(Meter(metrics)), frames_to_send=[AUDIO[1]])
    assert metrics.summary()["frames"] == 1
    assert metrics.stages == {}


async def test_unsent_messages_are_counted() -> None:
    metrics = CallMetrics()
    frames = [SendMetricsFrame(3), SendMetricsFrame(7)]
    tap = Tap(Meter(metrics))
    await run_test(tap, frames_to_send=frames, frames_to_send_direction=FrameDirection.UPSTREAM)
    assert metrics.unsent_messages == 7
    assert metrics.summary()["unsent_messages"] == 7


async def test_network_delay_to_a_server_is_not_a_deadline_miss() -> None:
    metrics = CallMetrics()
    stages = {"opus": 2.0, "wire": 150.0, "server": 40.0}
    frame = EngineMetricsFrame(192.0, stages, backlog_frames=2, dropped_frames=0)
    await run_test(Tap(Meter(metrics)), frames_to_send=[frame])
    assert metrics.deadline_misses == 0
    assert metrics.stages["wire"].max_ms == pytest.approx(150)


async def test_a_trimmed_frame_is_measured_too() -> None:
    metrics = CallMetrics()
    frames = [
        EngineMetricsFrame(20.0, {"lm": 95.0}, backlog_frames=0, dropped_frames=0),
        PlayoutMetricsFrame(200.0, 0.0, trimmed_ms=80, underruns=0, underrun_ms=0.0),
    ]
    await run_test(Tap(Meter(metrics)), frames_to_send=frames)
    assert (metrics.frames, metrics.deadline_misses, metrics.trimmed_ms) == (0, 1, 80)
