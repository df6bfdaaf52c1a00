"""A tiny random Moshi in the layout of Kyutai's repos: ``python -m tests.tiny_moshi DIR``.

Then ``python bot.py --engine moshi --model DIR`` runs the very code that runs the real one. The fixtures
make one for a test run; import them into a ``conftest.py`` to use them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from moshi_mlx.models.lm import Lm, LmConfig

from engines.moshi.language_model import Quantization, build
from engines.moshi.random_mimi import write_random_mimi
from engines.moshi.random_model import randomize, tiny_config, write_tiny_checkpoint


@pytest.fixture(scope="session")
def mimi_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Mimi with random values, full size; made once for a test run."""
    return write_random_mimi(tmp_path_factory.mktemp("mimi") / "mimi.safetensors")


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory, mimi_file: Path) -> Path:
    """A folder for ``--model``. Its files are shared: copy those that you want to change."""
    return write_tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "moshi", mimi=mimi_file)


def tiny_lm(quantization: Quantization | None = None, *, seed: int = 0, **config: int) -> Lm:
    """A language model of its own, in memory; ``config`` as ``tiny_config`` takes it."""
    sizes = LmConfig.from_config_dict(tiny_config(**config))
    return randomize(build(sizes, quantization), quantization, seed=seed)


if __name__ == "__main__":
    write_tiny_checkpoint(Path(sys.argv[1]))
