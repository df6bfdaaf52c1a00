"""benchmarks/measures.py: its figures; the servers themselves take minutes."""

from __future__ import annotations

import time

import pytest

from benchmarks.measures import BOTH, Costs
from benchmarks.timed_line import CONVERSATION, ECHO, timed


def test_a_share_is_that_of_all_rounds() -> None:
    costs = Costs(
        {BOTH: [20.0, 30.0, 25.0], ECHO: [19.0, 24.0, 25.0]},
        {ECHO: [0.5, 0.4, 0.6], CONVERSATION: [1.0, 1.0, 1.0]},
    )
    assert costs.share(ECHO) == pytest.approx(0.02)
    rows = costs.table().splitlines()
    assert "| both | 20.00 | 25.00 |" in rows
    assert "| without echo detection | 19.00 | 24.00 |" in rows
    assert "| conversation analysis | 1.00 | 4.0% |" in rows


def test_a_function_is_timed_also_if_it_raises() -> None:
    class Busy:
        def work(self, *, fails: bool) -> int:
            began_s = time.thread_time()
            while time.thread_time() - began_s < 0.01:
                pass
            if fails:
                raise ValueError("no")
            return 1

    spent_s = {ECHO: 0.0}
    timed(Busy, "work", spent_s, ECHO)
    assert Busy().work(fails=False) == 1
    with pytest.raises(ValueError, match="no"):
        Busy().work(fails=True)
    assert spent_s[ECHO] >= 0.02
