from __future__ import annotations

import numpy as np
import pytest

from benchmarks.bursts import delays_s, talk


@pytest.mark.parametrize("delay_samples", [0, 664, 2_000, 11_000])
def test_bursts_are_found_to_the_sample_in_noise(delay_samples: int) -> None:
    said = talk(20, seed=1)
    heard = np.random.default_rng(0).normal(0, 0.02, said.samples.size + delay_samples).astype(np.float32)
    heard[delay_samples:] += said.samples
    assert delays_s(said, heard) == [delay_samples / 8_000] * len(said.spoken)
    assert len(said.spoken) == 12


def test_a_missing_burst_is_lost() -> None:
    said = talk(20, seed=2)
    heard = said.samples.copy()
    heard[said.spoken[3] : said.spoken[3] + 400] = 0
    found = delays_s(said, heard)
    assert found[3] is None
    assert found[:3] + found[4:] == [0.0] * 11


def test_bursts_start_at_every_offset_within_a_frame() -> None:
    backends = {at % 640 // 80 for at in talk(120, seed=1).spoken}
    assert backends == set(range(8))
