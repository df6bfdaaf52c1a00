"""docs/testing.md: its tests pass as they are printed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.markdown_blocks import ROOT, blocks

TESTS = [block for language, block in blocks(ROOT / "docs" / "testing.md") if language == "python"]


@pytest.mark.parametrize("block", TESTS)
def test_a_printed_test_passes(block: str) -> None:
    names: dict[str, Any] = {}
    exec(block, names)  # noqa: S102
    (test,) = [value for name, value in names.items() if name.startswith("test_")]
    test()


def test_the_page_prints_tests() -> None:
    assert len(TESTS) == 2
