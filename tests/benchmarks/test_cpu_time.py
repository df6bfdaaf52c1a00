from __future__ import annotations

import time

import pytest

from benchmarks.cpu_time import timed


def test_a_function_that_raises_is_timed_too() -> None:
    class Busy:
        def work(self, *, fails: bool) -> int:
            began_s = time.thread_time()
            while time.thread_time() - began_s < 0.01:
                pass
            if fails:
                raise ValueError("no")
            return 1

    spent_s = {"work": 0.0}
    timed(Busy, "work", spent_s, "work")
    assert Busy().work(fails=False) == 1
    with pytest.raises(ValueError, match="no"):
        Busy().work(fails=True)
    assert spent_s["work"] >= 0.02
