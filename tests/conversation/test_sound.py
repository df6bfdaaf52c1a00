from __future__ import annotations

import numpy as np
import pytest

from moshi_phone.conversation.sound import Sound


def test_peaks_stay_in_place_when_columns_are_merged() -> None:
    sound = Sound()
    secs = 900
    for second in range(secs):
        both = np.zeros((8_000, 2), np.int16)
        if second == 600:
            both[4_000, 1] = -16_384
        sound.feed(both)
    peaks = sound.peaks(1)
    assert len(peaks) <= 4096
    assert np.argmax(peaks) * sound.column_s == pytest.approx(600.5, abs=sound.column_s)
    assert peaks.max() == pytest.approx(0.5)
    assert len(peaks) * sound.column_s == pytest.approx(secs, abs=2 * sound.column_s)


def test_clipping_is_a_share_of_the_audible_samples() -> None:
    sound = Sound()
    both = np.zeros((1_000, 2), np.int16)
    both[:100, 0] = 1_000
    both[:10, 0] = -32_768
    sound.feed(both)
    assert sound.clipped_share(0) == pytest.approx(0.1)
    assert sound.clipped_share(1) == 0.0
