"""A tiny random Moshi in the layout of Kyutai's repos: ``python -m tests.tiny_moshi DIR``.

Then ``uv run bot.py --engine moshi --model DIR`` runs the very code that runs the real one. Tests have it
as the fixture ``tiny_checkpoint``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from moshi_mlx.models.lm import Lm, LmConfig

from engines.moshi.language_model import Quantization, build
from engines.moshi.random_model import randomize, tiny_config, write_tiny_checkpoint


def tiny_lm(quantization: Quantization | None = None, *, seed: int = 0, **config: int) -> Lm:
    """A language model of its own, in memory; ``config`` as ``tiny_config`` takes it."""
    sizes = LmConfig.from_config_dict(tiny_config(**config))
    return randomize(build(sizes, quantization), quantization, seed=seed)


if __name__ == "__main__":
    write_tiny_checkpoint(Path(sys.argv[1]))
