from __future__ import annotations

import numpy as np

from moshi_phone.audio.percentiles import Spread


def test_a_spread_of_nothing_is_none() -> None:
    assert Spread.of(np.array([np.nan])) is None
    assert Spread.of(np.array([1.0, 2.0, 3.0, np.nan])) == Spread(2.0, 2.9, 3.0)
