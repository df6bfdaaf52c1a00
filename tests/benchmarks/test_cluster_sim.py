from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from benchmarks.cluster_sim import TABLES, Share

PAGE = (Path(__file__).parents[2] / "docs" / "scale.md").read_text(encoding="utf-8")


def test_the_confidence_interval_is_student_s() -> None:
    share = Share.of([0.1, 0.2, 0.3])
    assert share.mean == pytest.approx(0.2)
    assert share.error == pytest.approx(4.303 * 0.1 / 3**0.5, rel=0.001)
    assert str(share) == "20.00 ± 24.84"


@pytest.mark.cpu_bound
@pytest.mark.parametrize("title", TABLES)
def test_the_page_shows_what_the_command_prints(title: str) -> None:
    """The heading and the first row of each table: all rows take four minutes of CPU."""
    assert "\n".join(islice(TABLES[title](), 3)) in PAGE
