from __future__ import annotations

import pytest
from pipecat.tests.utils import run_test

from processors.frames import MulawOutputFrame
from processors.meter import Meter
from processors.tap import Tap
from records.call_metrics import CallMetrics


def sent(**metadata: object) -> MulawOutputFrame:
    frame = MulawOutputFrame(b"\xff" * 640)
    frame.metadata.update(metadata)
    return frame


async def test_the_meter_reads_what_the_stages_know_and_keeps_account_of_the_buffer() -> None:
    times = iter([10.0, 10.03, 10.2])
    metrics = CallMetrics()
    meter = Meter(metrics, now_s=lambda: next(times))
    frames = [
        sent(delay_ms=20.0, timings_ms={"lm": 15.0}, backlog_frames=1, dropped_frames=0, trimmed_ms=0),
        sent(delay_ms=90.0, timings_ms={"lm": 85.0}, backlog_frames=3, dropped_frames=2, trimmed_ms=0),
        sent(delay_ms=30.0, timings_ms={"lm": 25.0}, backlog_frames=0, dropped_frames=2, trimmed_ms=10),
    ]
    down, _ = await run_test(Tap(meter), frames_to_send=frames, expected_down_frames=[MulawOutputFrame] * 3)
    assert [frame.mulaw for frame in down if isinstance(frame, MulawOutputFrame)] == [b"\xff" * 640] * 3
    assert metrics.playout_lead.max_ms == pytest.approx(50)
    assert metrics.delay.max_ms == pytest.approx(140)
    assert (metrics.delay_ms, metrics.playout_lead_ms) == (30, 0)
    summary = metrics.summary()
    assert summary["frames"] == 3
    assert summary["deadline_misses"] == 1
    assert (summary["backlog_frames"], summary["most_backlog_frames"]) == (0, 3)
    assert (summary["dropped_frames"], summary["trimmed_ms"]) == (2, 10)
    assert (summary["underruns"], summary["underrun_ms"]) == (1, 40)
    assert summary["stages"]["lm"]["total"] == 125
    assert summary["delay"]["total"] == pytest.approx(190)


async def test_frames_that_know_nothing_count_as_nothing() -> None:
    metrics = CallMetrics()
    meter = Meter(metrics, now_s=lambda: 1.0)
    await run_test(Tap(meter), frames_to_send=[sent()], expected_down_frames=[MulawOutputFrame])
    assert metrics.summary()["frames"] == 1
    assert metrics.stages == {}
