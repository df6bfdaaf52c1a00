from __future__ import annotations

import numpy as np

from moshi_phone.audio import pcm


def test_every_sample_survives_the_round_trip() -> None:
    samples = np.arange(-32_768, 32_768).astype("<i2").tobytes()
    assert pcm.to_bytes(pcm.to_float(samples)) == samples


def test_full_scale_is_one_and_larger_values_are_clipped() -> None:
    assert pcm.to_float(np.array([-32_768], "<i2").tobytes()).tolist() == [-1.0]
    clipped = pcm.to_bytes(np.array([-1.5, 1.0, 7.0], np.float32))
    assert np.frombuffer(clipped, "<i2").tolist() == [-32_768, 32_767, 32_767]
