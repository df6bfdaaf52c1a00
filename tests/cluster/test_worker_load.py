"""cluster/worker_load.py: which worker gets the next call."""

from __future__ import annotations

from moshi_phone.cluster.worker_client import WorkerReport
from moshi_phone.cluster.worker_load import WorkerLoad
from moshi_phone.server.web.server_status import Phase, ServerStatus


def tells(name: str, sessions: int, *, closing: bool = False, refusal: str | None = None) -> WorkerReport:
    free = 0 if refusal else 2 - sessions
    status = ServerStatus(phase=Phase.READY, capacity=2, sessions=sessions, free=free, refusal=refusal)
    return WorkerReport(name, closing=closing, status=status)


def test_calls_are_spread() -> None:
    load = WorkerLoad()
    for name in ("w1", "w2", "w3"):
        load.update(name, tells(name, 0))
    given = list[str]()
    while best := load.pick():
        load.assign(best)
        given.append(best)
    assert given == ["w1", "w2", "w3", "w1", "w2", "w3"]


def test_a_worker_that_takes_no_calls_gets_none() -> None:
    load = WorkerLoad()
    load.update("w1", tells("w1", 0, closing=True))
    load.update("w2", WorkerReport("w2"))
    load.update("w3", tells("w3", 0, refusal="overloaded"))
    load.update("w4", tells("w4", 2))
    assert load.pick() is None
    load.update("w4", tells("w4", 1))
    assert load.pick() == "w4"
    load.update("w4", None)
    assert load.pick() is None


def test_a_failed_worker_is_used_again_after_its_next_report() -> None:
    load = WorkerLoad()
    load.update("w1", tells("w1", 0))
    load.mark_full("w1")
    assert load.pick() is None
    load.update("w1", tells("w1", 0))
    assert load.pick() == "w1"
    load.keep_only(set())
    assert load.pick() is None
