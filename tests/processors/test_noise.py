from __future__ import annotations

import numpy as np

from moshi_phone.records.call_metrics import CallMetrics
from processors.noise import NoiseSuppressor
from tests.support.echoes import power_db


def test_noise_is_attenuated_and_the_delay_is_reported() -> None:
    metrics = CallMetrics()
    stage = NoiseSuppressor(metrics)
    assert metrics.noise_suppressor_ms == 0  # no audio has passed yet
    noise = np.random.default_rng(1).normal(0, 300, 8_000 * 4).astype("<i2")
    out = b"".join(stage.clean(noise[at : at + 640].tobytes()) for at in range(0, len(noise), 640))
    samples = np.frombuffer(out, "<i2")
    assert len(samples) == len(noise)
    assert power_db(noise[-8_000:]) - power_db(samples[-8_000:]) >= 8
    assert metrics.noise_suppressor_ms == 9
