"""Our step is never slower than moshi_mlx's: same weights, same run, in turn."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.engine import compare
from engines.moshi.language_model import Quantization
from engines.moshi.sampling import MoshiSampling
from tests.tiny_moshi import tiny_lm


@pytest.mark.parametrize("quantization", [None, Quantization(4, 32)], ids=["float32", "q4"])
def test_our_step_is_never_slower(quantization: Quantization | None) -> None:
    model = tiny_lm(quantization, dim=128, layers=2, card=300, text_card=100)
    ours_ms, theirs_ms = compare(model, 60, MoshiSampling())
    assert np.median(ours_ms) <= np.median(theirs_ms), (np.median(ours_ms), np.median(theirs_ms))
