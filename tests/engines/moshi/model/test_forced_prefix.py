from __future__ import annotations

import numpy as np

from moshi_phone.engines.moshi.model.forced_prefix import NO_PREFIX, silent_prefix
from moshi_phone.engines.moshi.model.text_tokens import PADDING_TOKEN


def test_a_silent_prefix_says_nothing_for_so_many_frames() -> None:
    silence = np.arange(8, dtype=np.uint32)
    prefix = silent_prefix(3, silence)
    assert [frame.text_token for frame in prefix] == [PADDING_TOKEN] * 3
    assert all(frame.audio_tokens is silence for frame in prefix)
    assert silent_prefix(0, silence) == NO_PREFIX
