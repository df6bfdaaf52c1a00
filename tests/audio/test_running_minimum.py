"""The running minimum equals the minimum of the last values."""

from __future__ import annotations

import numpy as np
import pytest

from moshi_phone.audio.running_minimum import RunningMinimum


@pytest.mark.parametrize("count", [2, 7, 300])
@pytest.mark.parametrize("block", [1, 20, 200])
def test_it_is_the_minimum_of_the_last_values(count: int, block: int) -> None:
    """Values repeat, rise and fall."""
    values = np.random.default_rng(count).normal(size=200).cumsum().round(1).astype(np.float32)
    minimum = RunningMinimum(count)
    found = np.concatenate([minimum.add(values[at : at + block]) for at in range(0, len(values), block)])
    assert found.tolist() == [min(values[max(0, at - count + 1) : at + 1]) for at in range(len(values))]
