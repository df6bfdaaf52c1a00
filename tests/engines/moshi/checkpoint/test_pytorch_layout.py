from __future__ import annotations

import pytest

from moshi_phone.engines.moshi.checkpoint.pytorch_layout import (
    Origin,
    expected_shapes,
    is_of_other_slice,
    is_pytorch_layout,
    origins,
    slices_in,
)
from moshi_phone.engines.moshi.checkpoint.tensor_shapes import Shapes

ORIGINS = {
    "text_emb.weight": Origin("text_emb.weight"),
    "audio_embs.3.weight": Origin("emb.3.weight"),
    "out_norm.weight": Origin("out_norm.alpha", is_norm=True),
    "transformer.layers.1.norm1.weight": Origin("transformer.layers.1.norm1.alpha", is_norm=True),
    "transformer.layers.1.self_attn.in_proj.weight": Origin("transformer.layers.1.self_attn.in_proj_weight"),
    "depformer.slices.0.emb.weight": Origin("depformer_text_emb.weight"),
    "depformer.slices.5.emb.weight": Origin("depformer_emb.4.weight"),
    "depformer.slices.5.linear_in.weight": Origin("depformer_in.5.weight"),
    "depformer.slices.5.linear_out.weight": Origin("linears.5.weight"),
    "depformer.slices.2.transformer.layers.1.gating.linear_in.weight": Origin(
        "depformer.layers.1.gating.2.linear_in.weight"
    ),
    "depformer.slices.2.transformer.layers.1.self_attn.in_proj.weight": Origin(
        "depformer.layers.1.self_attn.in_proj_weight", 2
    ),
    "depformer.slices.2.transformer.layers.1.norm2.weight": Origin(
        "depformer.layers.1.norm2.alpha", is_norm=True
    ),
}


@pytest.mark.parametrize("name", ORIGINS)
def test_the_sources_of_a_tensor(name: str) -> None:
    assert origins([name], found=()) == {name: ORIGINS[name]}


def test_attention_is_stacked_over_slices_and_norms_have_two_more_axes() -> None:
    target: Shapes = {
        "depformer.slices.0.transformer.layers.0.self_attn.in_proj.weight": (12, 4),
        "depformer.slices.1.transformer.layers.0.self_attn.in_proj.weight": (12, 4),
        "out_norm.weight": (4,),
    }
    shapes = expected_shapes(target, origins(target, found=()), parts=16)
    assert shapes == {"depformer.layers.0.self_attn.in_proj_weight": (192, 4), "out_norm.alpha": (1, 1, 4)}


def test_attention_of_newer_files_is_found_slice_by_slice() -> None:
    name = "depformer.slices.3.transformer.layers.1.self_attn.out_proj.weight"
    theirs = "depformer.layers.1.self_attn.out_projs.3.weight"
    assert origins([name], found={theirs}) == {name: Origin(theirs)}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("linears.8.weight", True),
        ("linears.7.weight", False),
        ("depformer_emb.7.weight", True),  # which the ninth slice reads
        ("depformer_emb.6.weight", False),
        ("depformer.layers.0.gating.12.linear_in.weight", True),
        ("depformer.layers.0.self_attn.in_projs.9.weight", True),
        ("transformer.layers.9.self_attn.in_projs.0.weight", False),
    ],
)
def test_unused_slices_are_recognized(name: str, expected: bool) -> None:
    assert is_of_other_slice(name, 8) is expected


def test_a_layout_is_recognized_by_tensor_names() -> None:
    assert is_pytorch_layout(["text_emb.weight", "out_norm.alpha"])
    assert not is_pytorch_layout(["text_emb.weight", "out_norm.weight"])
    assert slices_in(["linears.0.weight", "linears.15.weight", "text_linear.weight"]) == 2
