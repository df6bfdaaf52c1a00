"""Mimi itself: why its own reset is not enough."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rustymimi

from moshi_phone.audio.formats import FRAME_SAMPLES, Pcm
from moshi_phone.engines.moshi.codec.codec import CODEBOOKS
from moshi_phone.engines.moshi.model.token_history import Tokens


def noise(seed: int) -> Pcm:
    return (0.1 * np.random.default_rng(seed).standard_normal(FRAME_SAMPLES)).astype(np.float32)


def tokens(seed: int) -> Tokens:
    return np.random.default_rng(seed).integers(0, 2048, CODEBOOKS).astype(np.uint32)


def snr_db(found: Pcm, expected: Pcm) -> float:
    """Return how far the difference is below the expected sound, in dB."""
    return float(10 * np.log10(np.sum(np.square(expected)) / max(np.sum(np.square(found - expected)), 1e-30)))


def test_rustymimi_s_own_reset_is_not_enough(mimi_file: Path) -> None:
    """Why ``Mimi.clean`` exists, and why its limit is for life. If this fails, both can be simplified."""
    mimi = rustymimi.Tokenizer(str(mimi_file), num_codebooks=CODEBOOKS, max_seq_len=8)
    frames = [noise(number).reshape(1, 1, -1) for number in range(4)]
    first = mimi.encode_step(frames[0])
    mimi.encode_step(frames[1])
    mimi.reset()
    assert not np.array_equal(mimi.encode_step(frames[0]), first), "the last call is still in there"
    mimi.encode_step(frames[2])
    mimi.reset()
    with pytest.raises(ValueError, match="narrow invalid args"):
        mimi.encode_step(frames[0])
