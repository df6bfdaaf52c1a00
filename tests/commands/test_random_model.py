from __future__ import annotations

from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten
from sentencepiece import SentencePieceProcessor

from moshi_phone.commands.random_model import GAINS, randomize, write_tiny_tokenizer
from moshi_phone.engines.moshi.checkpoint.mimi_layout import mimi_shapes
from moshi_phone.engines.moshi.codec.codec import CODEBOOKS, Mimi
from moshi_phone.engines.moshi.model.quantized_model import QUANTIZATIONS, build
from moshi_phone.vendor.moshi_mlx.models.lm import Lm, LmConfig
from tests.support.tiny_config import tiny_config

CONFIG = LmConfig.from_config_dict(tiny_config())


def values(model: Lm) -> dict[str, mx.array]:
    return dict(tree_flatten(model.parameters()))


def test_the_same_seed_gives_the_same_values() -> None:
    one, same, other = (values(randomize(build(CONFIG, None), seed=seed)) for seed in (1, 1, 2))
    assert all(mx.array_equal(one[name], same[name]) for name in one)
    assert not mx.array_equal(one["text_emb.weight"], other["text_emb.weight"])


def test_quantized_weights_have_the_spread_of_unquantized_ones() -> None:
    quantization = QUANTIZATIONS[4]  # groups of 32, into which the tiny model's sizes can be divided
    packed = values(randomize(build(CONFIG, quantization), quantization, seed=0))
    plain = values(randomize(build(CONFIG, None), seed=0))
    name = "text_linear"
    weight, scales, biases = (packed[f"{name}.{kind}"] for kind in ("weight", "scales", "biases"))
    spread = np.std(
        np.array(mx.dequantize(weight, scales, biases, quantization.group_size, quantization.bits))
    )
    assert spread == pytest.approx(np.std(np.array(plain[f"{name}.weight"])), rel=0.05)


def test_a_tokenizer_has_the_requested_number_of_pieces(tmp_path: Path) -> None:
    write_tiny_tokenizer(tmp_path / "tiny.model", 100)
    tokenizer = SentencePieceProcessor(str(tmp_path / "tiny.model"))
    assert tokenizer.get_piece_size() == 100
    assert [tokenizer.unk_id(), tokenizer.bos_id(), tokenizer.eos_id(), tokenizer.pad_id()] == [0, 1, 2, 3]
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.model"]


def test_tokens_depend_on_the_sound_and_output_is_as_loud_as_speech(mimi_file: Path) -> None:
    """The fixture's file is one of these."""
    mimi, rng = Mimi(mimi_file, 100), np.random.default_rng(0)
    frames = [rng.normal(0, 0.1, 1920).astype(np.float32) for _ in range(6)]
    tokens = [mimi.encode(frame) for frame in frames]
    assert all(row.shape == (CODEBOOKS,) for row in tokens)
    assert len({row.tobytes() for row in tokens}) > 1
    heard = np.concatenate([mimi.decode(row) for row in tokens])
    assert 0.005 < float(np.sqrt(np.mean(np.square(heard)))) < 0.5


def test_the_gains_name_existing_tensors() -> None:
    assert GAINS.keys() <= mimi_shapes().keys()
