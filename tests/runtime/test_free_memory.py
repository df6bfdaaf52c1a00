from __future__ import annotations

import sys

import numpy as np
import psutil
import pytest

from moshi_phone.runtime.free_memory import return_free_memory

MB = 1_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="other C libraries keep nothing back")
def test_unused_heap_memory_is_returned_to_the_system() -> None:
    process = psutil.Process()
    # Blocks that are too small for mappings of their own; the last one is in the way of the heap's end.
    blocks = [np.ones(100_000, np.uint8) for _ in range(1000)]
    last = blocks[-1]
    del blocks
    before = process.memory_info().rss
    return_free_memory()
    assert before - process.memory_info().rss > 50 * MB
    assert last.all()
