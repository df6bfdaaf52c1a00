"""A Moshi with random weights: for tests (tiny), and for ``bench`` (the real size, without a download)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import sentencepiece
from mlx.utils import tree_flatten, tree_unflatten
from moshi_mlx.models.lm import Lm, LmConfig

from engines.moshi.checkpoint import CONFIG_NAME, MIMI_NAME, TOKENIZER_NAME, WEIGHTS_NAMES
from engines.moshi.language_model import Quantization, build
from engines.moshi.random_mimi import write_random_mimi


def tiny_config(
    *,
    dim: int = 128,
    layers: int = 2,
    depformer_layers: int = 1,
    context: int = 3000,
    text_card: int = 200,
    card: int = 2048,
    codebooks: int = 8,
) -> dict[str, Any]:
    """Make a ``config.json`` for a model of Moshi's shape that steps in milliseconds on any processor.

    With Mimi, ``card`` and ``codebooks`` must be left as they are; without it, fewer are faster.
    """
    return {
        "card": card,
        "n_q": 2 * codebooks,
        "dep_q": codebooks,
        "delays": [0] + ([0] + [1] * (codebooks - 1)) * 2,
        "dim": dim,
        "text_card": text_card,
        "num_heads": dim // 32,
        "num_layers": layers,
        "causal": True,
        "layer_scale": None,
        "context": context,
        "max_period": 10000,
        "positional_embedding": "rope",
        "depformer_dim": dim,
        "depformer_num_heads": dim // 32,
        "depformer_num_layers": depformer_layers,
        "depformer_dim_feedforward": 4 * dim,
        "depformer_context": codebooks,
        "depformer_pos_emb": "none",
    }


def randomize(
    model: Lm, quantization: Quantization | None = None, *, seed: int, dtype: mx.Dtype = mx.float32
) -> Lm:
    """Give a model random values at which its tokens vary as a real one's do. Evaluated on return.

    Quantized layers get random bits and scales directly: packing 15 GB of random floats would take
    longer than the benchmark that wants them.
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
            # Packed values are evenly spread over all levels, whose deviation is their number / sqrt(12).
            levels = 2**quantization.bits
            scale = _deviation(name, place.shape[-1] * quantization.group_size) * 12**0.5 / levels
            value = mx.full(place.shape, scale if kind == "scales" else scale * (1 - levels) / 2, dtype)
        else:
            value = (mx.random.normal(place.shape, key=key) * _deviation(name, place.shape[-1])).astype(dtype)
        mx.eval(value)
        values.append((name, value))
    model.update(tree_unflatten(values))
    return model


def _deviation(name: str, inputs: int) -> float:
    return 1.0 if "emb" in name else float(inputs**-0.5)


def write_tiny_checkpoint(
    folder: Path,
    *,
    quantization: Quantization | None = None,
    seed: int = 0,
    mimi: Path | None = None,
    **config: int,
) -> Path:
    """Write a whole checkpoint in the layout of Kyutai's repos.

    Args:
        folder: made if need be.
        quantization: of the language model's file; None for float32.
        seed: the same seed gives the same values.
        mimi: a Mimi file to link to; None writes one with random values (385 MB, some seconds).
        config: what ``tiny_config`` takes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = tiny_config(**config)
    name = WEIGHTS_NAMES["none" if quantization is None else str(quantization.bits)]
    settings |= {"moshi_name": name, "mimi_name": MIMI_NAME, "tokenizer_name": TOKENIZER_NAME}
    (folder / CONFIG_NAME).write_text(json.dumps(settings, indent=2))
    model = randomize(build(LmConfig.from_config_dict(settings), quantization), quantization, seed=seed)
    mx.save_safetensors(str(folder / name), dict(tree_flatten(model.parameters())))
    write_tiny_tokenizer(folder / TOKENIZER_NAME, settings["text_card"])
    if mimi is None:
        write_random_mimi(folder / MIMI_NAME, seed=seed)
    else:
        (folder / MIMI_NAME).symlink_to(mimi)
    return folder


def write_tiny_tokenizer(path: Path, pieces: int) -> None:
    """Train a sentencepiece model of so many pieces on made-up words."""
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
    )
    path.with_suffix(".vocab").unlink()
