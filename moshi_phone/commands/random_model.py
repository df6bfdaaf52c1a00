"""Moshi and Mimi with random weights of the right shapes, for ``bench``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import mlx.core as mx
import numpy as np
import sentencepiece
from mlx.utils import tree_flatten, tree_unflatten
from numpy.typing import NDArray
from safetensors.numpy import save_file

from moshi_phone.engines.moshi.checkpoint.mimi_layout import mimi_shapes
from moshi_phone.engines.moshi.model.quantized_model import Quantization
from moshi_phone.vendor.moshi_mlx.models.lm import Lm


def randomize(
    model: Lm, quantization: Quantization | None = None, *, seed: int, dtype: mx.Dtype = mx.float32
) -> Lm:
    """Fill a model with random values whose tokens vary like a real model's. Evaluated on return.

    Quantized layers get random bits and scales directly: packing 15 GB of random floats would take longer
    than the benchmark.

    Args:
        model: from ``build``; it is filled and returned.
        quantization: as passed to ``build``.
        seed: the same seed gives the same values.
        dtype: of unquantized tensors.
    """
    layout = dict(tree_flatten(model.parameters()))
    rng = np.random.default_rng(seed)
    values = []
    for index, (name, place) in enumerate(layout.items()):
        key = mx.random.key(seed + index)
        kind = name.rsplit(".", 1)[-1]
        if place.dtype == mx.uint32:
            value = mx.array(rng.integers(0, 2**32, place.shape, np.uint32))
        elif "norm" in name:
            value = mx.ones(place.shape, dtype)
        elif quantization is not None and kind in ("scales", "biases"):
            # Packed values are uniform over all levels; their standard deviation is levels / sqrt(12).
            own = quantization.of(name)
            levels = 2**own.bits
            scale = _deviation(name, place.shape[-1] * own.group_size) * 12**0.5 / levels
            value = mx.full(place.shape, scale if kind == "scales" else scale * (1 - levels) / 2, dtype)
        else:
            value = (mx.random.normal(place.shape, key=key) * _deviation(name, place.shape[-1])).astype(dtype)
        mx.eval(value)
        values.append((name, value))
    model.update(tree_unflatten(values))
    return model


def _deviation(name: str, inputs: int) -> float:
    return 1.0 if "emb" in name else float(inputs**-0.5)


def write_tiny_tokenizer(path: Path, pieces: int, own: Sequence[str] = ()) -> None:
    """Train a sentencepiece model with ``pieces`` pieces on invented words, ``own`` among them."""
    rng = np.random.default_rng(0)
    syllables = [consonant + vowel for consonant in "bdfgklmnprstvwz" for vowel in "aeiou"]
    words = ["".join(rng.choice(syllables, size=int(rng.integers(1, 4)))) for _ in range(2000)]
    lines = [" ".join(words[at : at + 10]) for at in range(0, len(words), 10)]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_prefix=str(path.with_suffix("")),
        vocab_size=pieces,
        pad_id=3,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        minloglevel=2,
        user_defined_symbols=list(own),
    )
    path.with_suffix(".vocab").unlink()


# The first makes the tokens depend on the encoded sound, the second sets the decoded sound's level.
GAINS = {
    "encoder.model.0.conv.conv.weight": np.float32(30.0),
    "decoder.model.14.conv.conv.weight": np.float32(0.1),
}


def write_random_mimi(path: Path, *, seed: int = 0) -> Path:
    """Write Mimi's file with random values; the same seed gives the same values.

    Weights are scaled by their fan-in, so that decoded frames have the level of speech.
    """
    rng = np.random.default_rng(seed)
    save_file({name: _values(name, shape, rng) for name, shape in mimi_shapes().items()}, path)
    return path


def _values(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    if name.endswith(("norm1.weight", "norm2.weight", "cluster_usage", "_initialized")):
        return np.ones(shape, np.float32)
    if name.endswith("bias"):
        return np.zeros(shape, np.float32)
    if name.endswith(".scale"):
        return np.full(shape, 0.01, np.float32)
    values = rng.standard_normal(shape, np.float32)
    values *= GAINS.get(name, np.float32(1.0))
    if name.endswith("embedding_sum"):
        return values
    if ".convtr." in name:  # [in, out / groups, kernel]; two kernel positions reach each sample
        return values / np.float32(np.sqrt(2 * (1 if shape[1] == 1 else shape[0])))
    return values / np.float32(np.sqrt(np.prod(shape[1:])))
