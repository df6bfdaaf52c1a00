"""A tiny random Moshi in the layout of Kyutai's repos: ``python -m tests.support.tiny_moshi DIR``.

Then ``uv run bot.py --engine moshi --model DIR`` runs the very code that runs the real one. Tests have it
as the fixture ``tiny_checkpoint``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import mlx.core as mx
from mlx.utils import tree_flatten

from moshi_phone.commands.random_model import (
    randomize,
    write_random_mimi,
    write_tiny_tokenizer,
)
from moshi_phone.engines.moshi.checkpoint.checkpoint import (
    CONFIG_NAME,
    MIMI_NAME,
    TOKENIZER_NAME,
    WEIGHTS_NAMES,
)
from moshi_phone.engines.moshi.model.quantized_model import Quantization, build
from moshi_phone.vendor.moshi_mlx.models.lm import Lm, LmConfig
from tests.support.tiny_config import tiny_config


def tiny_lm(quantization: Quantization | None = None, *, seed: int = 0, **config: int) -> Lm:
    """Return a separate language model in memory; ``config`` as ``tiny_config`` accepts it."""
    sizes = LmConfig.from_config_dict(tiny_config(**config))
    return randomize(build(sizes, quantization), quantization, seed=seed)


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


if __name__ == "__main__":
    write_tiny_checkpoint(Path(sys.argv[1]))
