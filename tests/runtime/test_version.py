from __future__ import annotations

import tomllib
from pathlib import Path

from moshi_phone.runtime.version import VERSION

ROOT = Path(__file__).parents[2]


def test_it_agrees_with_pyproject_and_the_changelog() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION
    assert VERSION in (ROOT / "CHANGELOG.md").read_text()
