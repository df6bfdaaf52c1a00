from __future__ import annotations

import numpy as np

from moshi_phone.audio.percentiles import Percentiles


def test_the_spread_of_no_values_is_none() -> None:
    assert Percentiles.of(np.array([np.nan])) is None
    assert Percentiles.of(np.array([1.0, 2.0, 3.0, np.nan])) == Percentiles(2.0, 2.9, 3.0)
