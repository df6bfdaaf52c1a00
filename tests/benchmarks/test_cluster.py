"""benchmarks/cluster.py: a call to a cluster has the delay of a call to a single process."""

from __future__ import annotations

import pytest

from benchmarks.cluster import both_running, pair

pytest.importorskip("ray", reason="needs the extra ray")
pytestmark = pytest.mark.cluster

MORE_MS = 8.0  # a tenth of a frame: two processes beside each other differ by as much on a busy machine
PAIRS = 6


async def test_the_delay_is_that_of_one_process() -> None:
    """Compares the best round of each: other load makes rounds slower, never faster."""
    with both_running(workers=3) as (one, cluster):
        for _ in range(PAIRS):
            await pair(one, cluster, calls=6, secs=5)
            if min(cluster.p50_ms()) <= min(one.p50_ms()) + MORE_MS:
                break
    assert min(cluster.p50_ms()) <= min(one.p50_ms()) + MORE_MS, (cluster.p50_ms(), one.p50_ms())
    assert all(None not in one.delays_ms for heard in cluster.heard for one in heard), "no word is lost"
