from __future__ import annotations

from math import prod
from pathlib import Path

from moshi_phone.engines.moshi.checkpoint.mimi_layout import mimi_shapes
from moshi_phone.engines.moshi.checkpoint.tensor_shapes import read_shapes


def test_kyutai_s_file_is_as_long_as_this_layout() -> None:
    """385 MB, as the hub says of tokenizer-e351c8d8-checkpoint125.safetensors."""
    assert round(sum(4 * prod(shape) for shape in mimi_shapes().values()) / 1e6) == 385


def test_fewer_codebooks_are_the_first_of_them() -> None:
    few, all_of_them = mimi_shapes(8), mimi_shapes()
    assert few.items() < all_of_them.items()
    assert {name.split("_codebook")[0] for name in all_of_them.keys() - few.keys()} == {
        f"quantizer.rvq_rest.vq.layers.{index}." for index in range(7, 31)
    }


def test_a_file_of_this_layout_is_what_rustymimi_loads(mimi_file: Path) -> None:
    """The fixture's file: tests of the codec run it."""
    assert read_shapes(mimi_file) == mimi_shapes()
