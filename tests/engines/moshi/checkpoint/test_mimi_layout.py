from __future__ import annotations

from math import prod
from pathlib import Path

from moshi_phone.engines.moshi.checkpoint.mimi_layout import mimi_shapes
from moshi_phone.engines.moshi.checkpoint.tensor_shapes import read_shapes


def test_this_layout_has_the_size_of_kyutai_s_file() -> None:
    """385 MB, the hub's size of tokenizer-e351c8d8-checkpoint125.safetensors."""
    assert round(sum(4 * prod(shape) for shape in mimi_shapes().values()) / 1e6) == 385


def test_fewer_codebooks_are_the_first_ones() -> None:
    few, all_of_them = mimi_shapes(8), mimi_shapes()
    assert few.items() < all_of_them.items()
    assert {name.split("_codebook")[0] for name in all_of_them.keys() - few.keys()} == {
        f"quantizer.rvq_rest.vq.layers.{index}." for index in range(7, 31)
    }


def test_rustymimi_loads_a_file_of_this_layout(mimi_file: Path) -> None:
    """The fixture's file: the codec's tests run it."""
    assert read_shapes(mimi_file) == mimi_shapes()
