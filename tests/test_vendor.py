"""moshi_phone/vendor: what is there is moshi_mlx 0.3.0, byte for byte."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import moshi_mlx
import pytest

from moshi_phone.vendor import moshi_mlx as ours

UPSTREAM, OURS = Path(moshi_mlx.__file__).parent, Path(ours.__file__).parent
FILES = sorted(str(path.relative_to(OURS)) for path in OURS.rglob("*.py") if path.name != "__init__.py")


def test_it_is_compared_with_the_version_that_it_names() -> None:
    assert version("moshi_mlx") in (OURS.parent / "README.md").read_text()
    assert len(FILES) == 5


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_as_its_authors_published_it(name: str) -> None:
    assert (OURS / name).read_bytes() == (UPSTREAM / name).read_bytes()
