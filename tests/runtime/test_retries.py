"""Pauses grow to a maximum, and start again after a success."""

from __future__ import annotations

import threading

from moshi_phone.runtime.retries import ExponentialBackoff, later

WAIT_S = 30.0


def test_pauses_grow_to_a_maximum_and_are_reset() -> None:
    pauses = ExponentialBackoff((1.0, 2.0, 5.0))
    assert [pauses.next_secs() for _ in range(4)] == [1.0, 2.0, 5.0, 5.0]
    pauses.reset()
    assert pauses.next_secs() == 1.0


def test_due_callbacks_run_and_cancelled_ones_do_not() -> None:
    ran, cancelled = threading.Event(), threading.Event()
    later(3600, cancelled.set)()
    later(0, ran.set)
    assert ran.wait(WAIT_S)
    assert not cancelled.is_set()
