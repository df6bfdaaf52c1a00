"""Whole calls in simulated time: delay, stalls, long calls."""

from __future__ import annotations

import gc
from dataclasses import replace

import numpy as np
import psutil
import pytest
import soundfile
from numpy.typing import NDArray

from benchmarks.bursts import delays_s, talk
from bot import run_call
from moshi_phone.conversation.live import Judge
from moshi_phone.engines.duplex import DuplexEngine
from moshi_phone.engines.parrot import ParrotEngine
from moshi_phone.records.call_metrics import CallMetrics
from moshi_phone.rehearse.alignment import align
from moshi_phone.rehearse.clip import CALLER_FILE
from moshi_phone.server.calls.options import CallOptions
from moshi_phone.server.calls.state import ServerState
from moshi_phone.server.settings import Settings
from moshi_phone.server.web.app import create_app
from moshi_phone.testing.engine import FakeEngine
from tests.support.inline_executor import InlineExecutor
from tests.support.phone import start_message
from tests.support.simulated import SimulatedPhone, run_simulated

RESAMPLERS_MS = 3.0


def simulate(
    engine: DuplexEngine,
    said: NDArray[np.float32],
    late_s: tuple[float, ...] = (),
    options: CallOptions = CallOptions(),  # noqa: B008 - frozen
) -> tuple[SimulatedPhone, NDArray[np.float32], CallMetrics]:
    async def main() -> tuple[SimulatedPhone, NDArray[np.float32], CallMetrics]:
        # A tone for ten minutes is no word of the caller's, which ends a call.
        settings = Settings(calls=replace(options, silence_secs=0))
        line = ServerState(engine, settings, judge=Judge(InlineExecutor()))
        await engine.start(lambda _: None)
        start = start_message()
        phone = SimulatedPhone(create_app(line, run_call), start)
        heard = await phone.talk(said, late_s=late_s)
        assert line.calls.served == 1
        assert engine.running == 0
        call = line.calls.find(start["start"]["callSid"])
        assert call
        return phone, heard, call.observations.metrics

    return run_simulated(main())


def test_the_delay_is_one_frame_and_the_resamplers() -> None:
    said = talk(20, seed=3)
    phone, heard, _ = simulate(FakeEngine(), said.samples)
    delays_ms = [round(1000 * delay) if delay else None for delay in delays_s(said, heard)]
    assert delays_ms == [80 + RESAMPLERS_MS] * len(said.spoken)
    assert not phone.playback.gaps
    assert phone.closed is not None
    assert (phone.closed["code"], phone.closed["reason"]) == (1000, "the caller hung up")


@pytest.mark.parametrize(
    ("options", "step_secs", "filters_ms"),
    [
        (CallOptions(), 0.0, RESAMPLERS_MS),
        (CallOptions(), 0.05, RESAMPLERS_MS),
        (CallOptions(echo_cancel="on", noise_suppression=True), 0.01, RESAMPLERS_MS + 11 + 9),
    ],
)
def test_the_measured_delay_is_what_the_caller_hears(
    options: CallOptions, step_secs: float, filters_ms: float
) -> None:
    """The call's own measurement, compared with the far end's: each frame from mouth to ear."""
    said, rate_hz = soundfile.read(CALLER_FILE, dtype="float32")  # speech, which no stage takes for noise
    assert rate_hz == 8_000
    _, heard, metrics = simulate(FakeEngine(step_secs=lambda _: step_secs), said[:160_000], options=options)
    found = align(said[:160_000], heard)
    assert found
    heard_ms = np.nanmedian(found.lag_samples) / 8
    assert metrics.delay.quantile_ms(0.5) == pytest.approx(heard_ms, abs=2)
    parts = metrics.delay_parts_ms
    assert (parts["frame"], parts["filters"]) == (80, filters_ms)
    assert parts["processing"] == pytest.approx(1000 * step_secs, abs=1)
    assert sum(parts.values()) == pytest.approx(metrics.delay_ms)


def test_the_greeting_begins_one_frame_after_the_start() -> None:
    phone, heard, _ = simulate(ParrotEngine(delay_s=1), np.zeros(6 * 8_000, np.float32))
    first = phone.playback.segments[0]
    assert first.arrived_s == pytest.approx(0.08)
    assert np.abs(heard[first.heard_sample : first.heard_sample + 1_600]).max() > 0.05
    assert not phone.playback.gaps


def test_a_stall_leaves_one_gap_and_no_delay() -> None:
    """The engine is silent for 700 ms once; two seconds into the next pause, all delay has been trimmed."""
    stalled_frame = 125  # at 10 s
    said = speech(30)
    phone, heard, _ = simulate(
        FakeEngine(step_secs=lambda step: 0.7 if step == stalled_frame else 0.004), said
    )

    holes = [gap for gap in phone.playback.gaps if gap.ms >= 5]
    assert len(holes) == 1
    assert 600 <= holes[0].ms <= 720
    assert abs(holes[0].heard_sample / 8000 - 10) < 0.3
    before_ms = delay_ms(said, heard, 4.0)
    after_ms = delay_ms(said, heard, 14.0)  # the pause after the stall begins at 12.0
    assert before_ms < 80 + RESAMPLERS_MS + 6
    assert after_ms - before_ms <= 40  # the cushion, at most
    assert delay_ms(said, heard, 26.0) - before_ms <= 10  # and that is given up when it is not needed


def test_the_delay_of_late_packets_is_trimmed() -> None:
    """The network holds the caller's packets for 300 ms once, and then delivers all of them."""
    said = speech(24)
    late_s = tuple(max(0.0, 0.3 - 0.02 * (n - 500)) if n >= 500 else 0.0 for n in range(1200))
    _, heard, _ = simulate(FakeEngine(), said, late_s)
    assert delay_ms(said, heard, 20.0) - delay_ms(said, heard, 4.0) <= 10


@pytest.mark.slow
def test_resources_do_not_grow_in_four_minutes() -> None:
    said = talk(240, seed=5)
    sizes = []

    def step_secs(step: int) -> float:
        if step in (1_000, 2_800):
            gc.collect()
            sizes.append(psutil.Process().memory_info().rss)
        return 0.01 + 0.003 * (step % 7 == 0)

    _, heard, _ = simulate(FakeEngine(step_secs=step_secs), said.samples)
    delays = [delay for delay in delays_s(said, heard) if delay is not None]
    assert len(delays) == len(said.spoken)
    first, last = np.mean(delays[1:11]), np.mean(delays[-10:])
    assert abs(last - first) < 0.004
    # The test's caller stores the received audio, 8 kB a second, twice; the rest is the server's.
    assert sizes[1] - sizes[0] < 144 * 8_000 * 2 + 4_000_000


def speech(secs: int) -> NDArray[np.float32]:
    """Return noise for 3 s, a pause of 1 s, and so on: every part can be told from every other."""
    random = np.random.default_rng(1)
    samples = random.normal(0, 0.1, secs * 8000).astype(np.float32)
    for second in range(0, secs, 4):
        samples[second * 8000 : (second + 1) * 8000] = 0
    return samples


def delay_ms(said: NDArray[np.float32], heard: NDArray[np.float32], at_s: float) -> float:
    """Return the delay with which half a second of speech, from a given time, was heard."""
    spoken = int(at_s * 8000) + 8000
    word = said[spoken : spoken + 4000]
    match = np.correlate(heard[spoken : spoken + 16_000], word, "valid")
    best = int(np.argmax(match))
    assert match[best] > 0.8 * float(word @ word), "the word was not heard whole"
    return best / 8
