from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from moshi_phone.audio import g711, pcm
from moshi_phone.audio.percentiles import Percentiles
from moshi_phone.rehearse.alignment import align
from moshi_phone.rehearse.clip import CALLER_FILE
from moshi_phone.rehearse.measure import measure
from moshi_phone.rehearse.record import StatusSample
from tests.rehearse import simulated


def test_delays_are_measured_by_content() -> None:
    found = measure(simulated.call(simulated.mirror), repeats_after_ms=0)
    assert found.delay_by == "content"
    known = found.delay_ms[np.isfinite(found.delay_ms)]
    assert len(known) > 90
    assert np.allclose(known, 110, atol=0.2)
    assert found.first_audio_ms == pytest.approx(110)
    assert found.late_ms == pytest.approx(0, abs=1e-6)


def test_delays_are_measured_by_order_if_the_content_differs() -> None:
    rng = np.random.default_rng(3)
    babble = [g711.encode(pcm.to_bytes(rng.normal(0, 0.1, 640).astype(np.float32))) for _ in range(150)]
    record = simulated.call(lambda frames: simulated.mirror(babble[: len(frames)]))
    found = measure(record)
    assert found.delay_by == "order"
    assert found.quality is None
    known = found.delay_ms[np.isfinite(found.delay_ms)]
    assert len(known) > 145
    assert np.allclose(known, 110, atol=0.2)


def test_reported_lost_frames_do_not_count_as_delay() -> None:
    rng = np.random.default_rng(3)
    babble = [g711.encode(pcm.to_bytes(rng.normal(0, 0.1, 640).astype(np.float32))) for _ in range(150)]

    def drops_two(frames: list[bytes]) -> list[tuple[float, bytes]]:
        messages = simulated.mirror(babble[: len(frames)])
        return messages[:50] + messages[52:]

    record = simulated.call(drops_two)
    late = Percentiles.of(measure(record).delay_ms[60:])
    assert late is not None
    assert late.p50 == pytest.approx(270, abs=1)
    record.status_samples = [StatusSample(simulated.BEGAN_S + 4.1, 1, 40.0, 2, 0.0, filters_ms=3.0)]
    true = Percentiles.of(measure(record).delay_ms[60:])
    assert true is not None
    assert true.p50 == pytest.approx(113, abs=1)  # the order of samples does not show what filters delay


def test_an_unknown_server_that_delays_everything_is_slow() -> None:
    spread = Percentiles.of(measure(simulated.call(simulated.slow)).delay_ms)
    assert spread is not None
    assert spread.p50 == pytest.approx(510, abs=1)


def test_a_server_that_inserts_leading_silence_is_slow() -> None:
    def padded(frames: list[bytes]) -> list[tuple[float, bytes]]:
        return simulated.parrot(frames, delay_frames=5)

    spread = Percentiles.of(measure(simulated.call(padded), repeats_after_ms=0).delay_ms)
    assert spread is not None
    assert spread.p50 == pytest.approx(510, abs=1)


def test_drift_and_skew_of_a_slow_clock() -> None:
    found = measure(simulated.call(simulated.drifts), repeats_after_ms=0)
    assert found.drift_ms == pytest.approx(90, abs=15)
    assert found.clock_skew == pytest.approx(0.01, abs=0.004)


def test_quality_is_measured_outside_gaps() -> None:
    whole = measure(simulated.call(simulated.mirror)).quality
    holes = measure(simulated.call(simulated.drops_every_tenth)).quality
    noisy = measure(simulated.call(simulated.noisy)).quality
    assert whole is not None
    assert holes is not None
    assert noisy is not None
    assert whole.stoi > 0.999
    assert holes.stoi > 0.99
    assert noisy.stoi < 0.9
    assert noisy.snr_db < 10


def test_repeated_speech_is_aligned_with_its_first_occurrence(tmp_path: Path) -> None:
    clip, rate_hz = soundfile.read(CALLER_FILE, stop=16_000)
    soundfile.write(tmp_path / "short.wav", clip, rate_hz)
    record = simulated.call(simulated.parrot, secs=12, clip=tmp_path / "short.wav")
    found = measure(record, repeats_after_ms=960)
    spread = Percentiles.of(found.delay_ms)
    assert spread is not None
    assert spread.p50 == pytest.approx(110, abs=0.2)
    assert spread.max == pytest.approx(110, abs=0.2)


def test_other_speech_is_not_aligned() -> None:
    record = simulated.call(simulated.mirror, secs=12)
    said = record.said_pcm
    assert align(said, said[::-1].copy()) is None
    assert align(said, np.zeros_like(said)) is None
    assert align(np.zeros_like(said), said) is None


def test_in_flight_frames_and_lead() -> None:
    found = measure(simulated.call(simulated.stalls_once))
    assert found.lead_ms[:60].max() == 0
    assert found.lead_ms[-1] == pytest.approx(570, abs=1)
    assert found.in_flight_frames.max() >= 7
    assert found.in_flight_frames[-1] == 1
