from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest

from moshi_phone.engines.moshi.model.language_model import new_history
from moshi_phone.engines.moshi.model.prefill import Prefill
from moshi_phone.engines.moshi.model.ring_kv_cache import Snapshot
from moshi_phone.vendor.moshi_mlx.models.lm import Lm
from tests.support.tiny_moshi import tiny_lm

POSITIONS = 20


@pytest.fixture(scope="module")
def model() -> Lm:
    return tiny_lm(dim=64, codebooks=4, card=32)


def reading(model: Lm, embeddings: np.ndarray | None = None) -> Prefill:
    inputs = np.random.default_rng(0).integers(0, 32, (POSITIONS, 9)).astype(np.int32)
    return Prefill(model, inputs, embeddings, new_history(model.cfg))


def in_slices(prefill: Prefill, *slices: int) -> Snapshot:
    for positions in slices:
        prefill.advance(positions)
    return prefill.snapshot()


def alike(one: Snapshot, other: Snapshot) -> bool:
    return all(
        mx.allclose(mine, theirs, rtol=1e-4, atol=1e-5)
        for mine, theirs in zip((*one.keys, *one.values), (*other.keys, *other.values), strict=True)
    )


def test_slices_leave_the_same_cache_as_one_pass(model: Lm) -> None:
    whole = in_slices(reading(model), POSITIONS)
    assert whole.position == POSITIONS
    assert whole.keys[0].shape[2] == POSITIONS
    assert alike(whole, in_slices(reading(model), 1, 7, 12))
    assert alike(whole, in_slices(reading(model), *[1] * POSITIONS))


@pytest.mark.cpu_bound
def test_prefilling_in_slices_leaves_nothing_in_mlx_s_cache() -> None:
    """With an accelerator's limit, which is nearly zero: the CPU's would hide it."""
    model = tiny_lm(dim=256, layers=8, codebooks=4, card=32)
    inputs = np.random.default_rng(0).integers(0, 32, (1024, 9)).astype(np.int32)
    before_bytes = mx.set_cache_limit(8 * 2**30)
    try:
        mx.clear_cache()
        snapshot = in_slices(Prefill(model, inputs, None, new_history(model.cfg)), *[16] * 64)
        assert mx.get_cache_memory() < 2 * snapshot.size_bytes
    finally:
        mx.set_cache_limit(before_bytes)


def test_embeddings_replace_the_first_tokens(model: Lm) -> None:
    embeddings = np.random.default_rng(1).normal(0, 1, (5, 64)).astype(np.float32)
    whole = in_slices(reading(model, embeddings), POSITIONS)
    assert alike(whole, in_slices(reading(model, embeddings), 3, 4, 13))  # across their end
    assert not alike(whole, in_slices(reading(model), POSITIONS))


def test_no_snapshot_before_the_end(model: Lm) -> None:
    prefill = reading(model)
    prefill.advance(POSITIONS - 1)
    assert prefill.positions_left == 1
    with pytest.raises(RuntimeError, match="expected no positions left, got 1"):
        prefill.snapshot()
    prefill.advance(100)  # more than there are
    assert prefill.snapshot().position == POSITIONS
