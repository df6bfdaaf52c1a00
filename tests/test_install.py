"""pyproject.toml: mlx's two backends for Linux exclude each other, also after a plain ``uv run``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
UV = shutil.which("uv")
pytestmark = [
    pytest.mark.skipif(UV is None, reason="needs uv"),
    pytest.mark.skipif(sys.platform != "linux", reason="a Mac has one backend"),
]


def plan(tmp_path: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    """What uv would install into an empty environment; the answer is in words on stderr."""
    asked = subprocess.run(  # noqa: S603
        [UV or "", "sync", "--dry-run", "--frozen", *arguments],
        cwd=ROOT,
        env={**os.environ, "UV_PROJECT_ENVIRONMENT": str(tmp_path / "venv"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.returncode, asked.stderr


def test_both_at_once_are_refused(tmp_path: Path) -> None:
    code, words = plan(tmp_path, "--extra", "cuda")
    assert code != 0
    assert "incompatible with the declared conflicts" in " ".join(words.split())  # lines are broken somewhere


def test_the_readme_s_way_leaves_the_other_one_out_for_good(tmp_path: Path) -> None:
    code, words = plan(tmp_path, "--extra", "cuda", UV_NO_GROUP="cpu")
    assert code == 0
    assert "+ mlx-cuda-13" in words
    assert "mlx-cpu" not in words
    # What a plain uv run does: it adds what is missing, and takes nothing away.
    code, words = plan(tmp_path, "--inexact", UV_NO_GROUP="cpu")
    assert code == 0
    assert "+ mlx==" in words
    assert "mlx-cpu" not in words


def test_elsewhere_the_processor_s_is_the_default(tmp_path: Path) -> None:
    assert "+ mlx-cpu" in plan(tmp_path)[1]
