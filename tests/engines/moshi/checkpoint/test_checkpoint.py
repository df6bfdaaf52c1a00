"""Errors in a folder's files are reported in one sentence."""

from __future__ import annotations

import json
import os
from pathlib import Path

from moshi_phone.commands.random_model import write_tiny_tokenizer
from moshi_phone.engines.moshi.checkpoint.checkpoint import CONFIG_NAME, TOKENIZER_NAME
from tests.engines.moshi.files import WEIGHTS_NAME, complaint


def test_names_a_truncated_file(own_checkpoint: Path) -> None:
    path = own_checkpoint / WEIGHTS_NAME
    size = path.stat().st_size
    os.truncate(path, size - 1000)
    assert f"{path}: it is cut short or damaged ({size - 1000:,} bytes; " in complaint(own_checkpoint)
    assert complaint(own_checkpoint).endswith("); copy it there again.")
    path.write_bytes(b"<html>")
    assert "it is cut short or damaged (6 bytes; " in complaint(own_checkpoint)
    path.write_bytes((8).to_bytes(8, "little") + b"nonsense")
    assert "it is cut short or damaged (16 bytes; " in complaint(own_checkpoint)


def test_names_a_tensor_of_another_shape(own_checkpoint: Path) -> None:
    config = json.loads((own_checkpoint / CONFIG_NAME).read_text())
    (own_checkpoint / CONFIG_NAME).write_text(json.dumps(config | {"text_card": 90}))
    text = complaint(own_checkpoint)
    assert "the tensor depformer.slices.0.emb.weight: expected [91, 16], got [101, 16]" in text
    (own_checkpoint / CONFIG_NAME).write_text(json.dumps(config | {"num_layers": 2}))
    assert "the tensor transformer.layers.1.gating.linear_in.weight is missing" in complaint(own_checkpoint)
    (own_checkpoint / CONFIG_NAME).write_text(json.dumps(config | {"depformer_num_layers": 0}))
    assert "belongs to another model" in complaint(own_checkpoint)


def test_names_a_config_of_another_model(own_checkpoint: Path) -> None:
    path = own_checkpoint / CONFIG_NAME
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"dep_q": 4}))
    assert "expected 8 codebooks each for Moshi and the caller, got dep_q 4, n_q 16" in complaint(
        own_checkpoint
    )
    path.write_text(json.dumps(config | {"mimi_name": 1}))
    assert "it cannot be read (expected mimi_name to be text, got int)" in complaint(own_checkpoint)
    del config["dim"]
    path.write_text(json.dumps(config))
    assert f"{path}: the entry 'dim' is missing" in complaint(own_checkpoint)
    path.write_text("{")
    assert f"{path}: it cannot be read" in complaint(own_checkpoint)


def test_names_an_invalid_or_too_small_tokenizer(own_checkpoint: Path) -> None:
    path = own_checkpoint / TOKENIZER_NAME
    write_tiny_tokenizer(path, 90)
    assert f"{path}: expected 100 pieces, got 90" in complaint(own_checkpoint)
    path.write_bytes(b"nothing of the kind")
    assert f"{path}: it is not a sentencepiece model" in complaint(own_checkpoint)
