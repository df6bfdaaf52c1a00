from __future__ import annotations

import numpy as np

from moshi_phone.audio.spectrum import squared


def test_the_square_of_each_bin_s_magnitude() -> None:
    power = squared(np.array([3 + 4j, -2j, 0], np.complex64))
    assert power.dtype == np.float32
    np.testing.assert_array_equal(power, [25, 4, 0])
