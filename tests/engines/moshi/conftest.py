"""Fixtures of the tests of Moshi's files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from moshi_phone.engines.moshi.model.quantized_model import Quantization
from tests.engines.moshi.files import write_hollow_mimi
from tests.support.tiny_moshi import write_tiny_checkpoint


@pytest.fixture(scope="session")
def hollow_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the right shapes, with a sparse Mimi of zeros: it can be found, but not run."""
    folder = tmp_path_factory.mktemp("weights")
    return write_tiny_checkpoint(
        folder / "tiny",
        quantization=Quantization(4, 32),
        mimi=write_hollow_mimi(folder / "mimi"),
        dim=128,
        layers=1,
        text_card=100,
        card=64,
    )


@pytest.fixture
def own_checkpoint(hollow_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged; Mimi is still shared."""
    return Path(shutil.copytree(hollow_checkpoint, tmp_path / "own", symlinks=True))
