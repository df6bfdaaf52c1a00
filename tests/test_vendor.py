"""moshi_phone/vendor is moshi_mlx 0.3.0, byte for byte."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import moshi_mlx
import pytest

from moshi_phone.vendor import moshi_mlx as ours

UPSTREAM, OURS = Path(moshi_mlx.__file__).parent, Path(ours.__file__).parent
FILES = sorted(str(path.relative_to(OURS)) for path in OURS.rglob("*.py") if path.name != "__init__.py")


def test_the_installed_version_is_the_named_one() -> None:
    assert version("moshi_mlx") in (OURS.parent / "README.md").read_text()
    assert len(FILES) == 5


@pytest.mark.parametrize("name", FILES)
def test_each_file_is_unchanged(name: str) -> None:
    assert (OURS / name).read_bytes() == (UPSTREAM / name).read_bytes()
