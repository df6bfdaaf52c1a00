"""model/quantized_model.py: each layer is quantized as its file requires."""

from __future__ import annotations

import mlx.core as mx
import pytest
from mlx.utils import tree_flatten

from moshi_phone.engines.moshi.model import language_model
from moshi_phone.engines.moshi.model.quantized_model import (
    QUANTIZATIONS,
    Quantization,
    build,
    quantization_named,
)
from moshi_phone.vendor.moshi_mlx.models.lm import LmConfig
from tests.support.tiny_config import tiny_config

SIZES = LmConfig.from_config_dict(tiny_config())


@pytest.mark.parametrize(
    ("packing", "main", "depformer"), [("none", None, None), ("4", 4, 4), ("8", 8, 8), ("4-8", 4, 8)]
)
def test_layers_are_quantized_with_the_given_bits(
    packing: str, main: int | None, depformer: int | None
) -> None:
    quantization = quantization_named(packing)
    found = (
        quantization and quantization.of("transformer.layers.0").bits,
        quantization and quantization.of("depformer.slices.0").bits,
    )
    assert found == (main, depformer)


def test_each_part_of_a_model_has_its_own_bits() -> None:
    model = build(SIZES, Quantization(4, 32, depformer=Quantization(8, 32)))
    parameters = dict(tree_flatten(model.parameters()))
    packed = {name: tensor for name, tensor in parameters.items() if tensor.dtype == mx.uint32}
    for name, tensor in packed.items():
        scales = parameters[name.replace(".weight", ".scales")]
        bits = 32 * tensor.shape[-1] / (32 * scales.shape[-1])  # 32 bits a word; 32 weights a scale
        assert bits == (8 if name.startswith("depformer.") else 4), name
    assert {name.split(".")[0] for name in packed} >= {"transformer", "depformer", "text_emb"}


def test_a_model_has_no_cache_shared_by_calls() -> None:
    model = build(SIZES, None)
    assert (model.transformer_cache, model.depformer_cache) == ([], [])


def test_language_model_exports_these_names() -> None:
    assert (language_model.build, language_model.QUANTIZATIONS) == (build, QUANTIZATIONS)
