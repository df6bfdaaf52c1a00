"""model/evaluate.py: errors in a model's file are one sentence with a remedy."""

from __future__ import annotations

from pathlib import Path

import mlx.core as mx
import pytest

from moshi_phone.engines.duplex import EngineUnavailable
from moshi_phone.engines.moshi.model.evaluate import evaluate, loading
from tests.support.tiny_moshi import tiny_lm

WEIGHTS = Path("model.safetensors")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("missing parameters"), "model.safetensors cannot be loaded: missing parameters"),
        (KeyError("text_emb"), "model.safetensors cannot be loaded: 'text_emb'"),
        (RuntimeError("[malloc]"), r"\(\[malloc\]\); buy more, or close other programs\.$"),
        (MemoryError(), r"; buy more, or close other programs\.$"),
    ],
)
def test_errors_of_mlx_are_explained(error: Exception, message: str) -> None:
    with pytest.raises(EngineUnavailable, match=message) as caught, loading(WEIGHTS, "buy more"):
        raise error
    assert caught.value.__cause__ is error


def test_non_finite_weights_are_found_before_a_call() -> None:
    model = tiny_lm(dim=32, layers=1)
    evaluate(WEIGHTS, model)
    model.out_norm.weight = model.out_norm.weight * mx.array(float("nan"))
    with pytest.raises(
        EngineUnavailable, match=r"the tensor out_norm\.weight holds values that are not finite"
    ):
        evaluate(WEIGHTS, model)
