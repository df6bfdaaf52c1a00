from __future__ import annotations

import numpy as np

from moshi_phone.audio.formats import FRAME_SAMPLES
from moshi_phone.audio.silence import SILENCE_RMS, is_silent
from moshi_phone.rehearse import alignment, measure


def test_the_threshold() -> None:
    for level, silent in ((0.0, True), (SILENCE_RMS * 0.99, True), (SILENCE_RMS * 1.01, False)):
        assert is_silent(np.full(FRAME_SAMPLES, level, np.float32)) is silent
        assert alignment._is_loud(np.full(160, level)) is not silent
        assert measure._speaks(np.full(160, level)).any() != silent
