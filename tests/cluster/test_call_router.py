"""cluster/call_router.py: whom the next call goes to."""

from __future__ import annotations

from moshi_phone.cluster.call_router import WorkerLoad
from moshi_phone.cluster.worker_client import WorkerReport


def tells(name: str, sessions: int, capacity: int = 2, **more: object) -> WorkerReport:
    about: dict[str, object] = {"loaded": True, "health": {"ready": True}, **more}
    return WorkerReport(name, capacity=capacity, sessions=sessions, **about)  # type: ignore[arg-type]


def test_calls_are_spread() -> None:
    roster = WorkerLoad()
    for name in ("w1", "w2", "w3"):
        roster.note(name, tells(name, 0))
    given = list[str]()
    while best := roster.best():
        roster.gave(best)
        given.append(best)
    assert given == ["w1", "w2", "w3", "w1", "w2", "w3"]


def test_who_takes_no_calls_is_given_none() -> None:
    roster = WorkerLoad()
    roster.note("w1", tells("w1", 0, closing=True))
    roster.note("w2", tells("w2", 0, loaded=False))
    roster.note("w3", tells("w3", 0, health={"ready": False}))
    roster.note("w4", tells("w4", 2))
    assert roster.best() is None
    roster.note("w4", tells("w4", 1))
    assert roster.best() == "w4"
    roster.note("w4", None)
    assert roster.best() is None


def test_who_failed_is_asked_again_when_it_has_told_anew() -> None:
    roster = WorkerLoad()
    roster.note("w1", tells("w1", 0))
    roster.failed("w1")
    assert roster.best() is None
    roster.note("w1", tells("w1", 0))
    assert roster.best() == "w1"
    roster.keep_only(set())
    assert roster.best() is None
