"""Pauses grow up to the last, and begin again after what went well."""

from __future__ import annotations

import threading

from moshi_phone.runtime.retries import ExponentialBackoff, later

WAIT_S = 30.0


def test_pauses_grow_and_the_last_one_stays() -> None:
    pauses = ExponentialBackoff((1.0, 2.0, 5.0))
    assert [pauses.next_secs() for _ in range(4)] == [1.0, 2.0, 5.0, 5.0]
    pauses.reset()
    assert pauses.next_secs() == 1.0


def test_runs_what_is_due_and_not_what_was_taken_back() -> None:
    ran, cancelled = threading.Event(), threading.Event()
    later(3600, cancelled.set)()
    later(0, ran.set)
    assert ran.wait(WAIT_S)
    assert not cancelled.is_set()
