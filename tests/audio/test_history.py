from __future__ import annotations

import numpy as np

from moshi_phone.audio.history import History


def test_it_holds_the_last_samples_of_blocks_of_any_length() -> None:
    history, everything = History(100, np.int16), np.zeros(100, np.int16)
    rng = np.random.default_rng(1)
    for length in (1, 99, 100, 250, 0, 7, *rng.integers(0, 130, 50)):
        block = rng.integers(-9, 9, length).astype(np.int16)
        history.append(block)
        everything = np.concatenate((everything, block))
        assert np.array_equal(history.last, everything[-100:])


def test_unread_blocks_are_merged_and_bounded() -> None:
    history = History(100, np.int16)
    for number in range(1000):
        history.append(np.full(7, number, np.int16))
        assert history._waiting_samples < 100
    assert history.last[-8:].tolist() == [998] + 7 * [999]
