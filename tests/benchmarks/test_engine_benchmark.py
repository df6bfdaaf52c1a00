"""Our step is never slower than moshi_mlx's: same weights, same run, in turn."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.engine import compare
from moshi_phone.engines.moshi.model.language_model import Quantization
from moshi_phone.engines.moshi.model.sampling import MoshiSampling
from tests.support.tiny_moshi import tiny_lm

TRIES = 3  # others at work on the same machine can spoil one comparison


@pytest.mark.parametrize("quantization", [None, Quantization(4, 32)], ids=["float32", "q4"])
def test_our_step_is_never_slower(quantization: Quantization | None) -> None:
    model = tiny_lm(quantization, dim=128, layers=2, card=300, text_card=100)
    ratios = list[float]()
    while len(ratios) < TRIES and (not ratios or ratios[-1] > 1.0):
        ours_ms, theirs_ms = compare(model, 40, MoshiSampling())
        ratios.append(float(np.median(np.divide(ours_ms, theirs_ms))))
    assert min(ratios) <= 1.0, ratios
