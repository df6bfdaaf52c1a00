from __future__ import annotations

from pathlib import Path

import numpy as np

from moshi_phone.engines.moshi.checkpoint.mimi_layout import mimi_shapes
from moshi_phone.engines.moshi.checkpoint.random_mimi import GAINS
from moshi_phone.engines.moshi.codec.codec import CODEBOOKS, Mimi


def test_its_tokens_follow_the_sound_and_its_sound_is_as_loud_as_speech(mimi_file: Path) -> None:
    """The fixture's file is one of these."""
    mimi, rng = Mimi(mimi_file, 100), np.random.default_rng(0)
    frames = [rng.normal(0, 0.1, 1920).astype(np.float32) for _ in range(6)]
    tokens = [mimi.encode(frame) for frame in frames]
    assert all(row.shape == (CODEBOOKS,) for row in tokens)
    assert len({row.tobytes() for row in tokens}) > 1
    heard = np.concatenate([mimi.decode(row) for row in tokens])
    assert 0.005 < float(np.sqrt(np.mean(np.square(heard)))) < 0.5


def test_the_gains_are_of_tensors_that_exist() -> None:
    assert GAINS.keys() <= mimi_shapes().keys()
