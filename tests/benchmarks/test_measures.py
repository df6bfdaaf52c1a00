"""benchmarks/measures.py: its calculations; measuring the servers takes minutes."""

from __future__ import annotations

import pytest

from benchmarks.measures import BOTH, Costs
from benchmarks.timed_line import CONVERSATION, ECHO


def test_a_share_is_calculated_over_all_rounds() -> None:
    costs = Costs(
        {BOTH: [20.0, 30.0, 25.0], ECHO: [19.0, 24.0, 25.0]},
        {ECHO: [0.5, 0.4, 0.6], CONVERSATION: [1.0, 1.0, 1.0]},
    )
    assert costs.share(ECHO) == pytest.approx(0.02)
    rows = costs.table().splitlines()
    assert "| both | 20.00 | 25.00 |" in rows
    assert "| without echo detection | 19.00 | 24.00 |" in rows
    assert "| conversation analysis | 1.00 | 4.0% |" in rows
