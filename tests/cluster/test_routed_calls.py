"""cluster/routed_calls.py: how long a draining worker waits for routed calls."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from moshi_phone.cluster.routed_calls import ROUTED_GRACE_SECS, RoutedCalls


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def nobody(_: str) -> bool:
    return False


def test_a_routed_call_is_awaited_for_at_most_ten_seconds() -> None:
    clock = Clock()
    routed = RoutedCalls(clock)
    assert not routed.is_waiting(nobody)
    routed.note("CA1")
    assert routed.is_waiting(nobody)
    assert not routed.is_waiting(lambda sid: sid == "CA1")
    clock.now_s += ROUTED_GRACE_SECS
    assert not routed.is_waiting(nobody)


def test_each_call_has_its_own_deadline_and_old_ones_are_forgotten() -> None:
    clock = Clock()
    routed = RoutedCalls(clock)
    routed.note("CA1")
    clock.now_s += ROUTED_GRACE_SECS / 2
    routed.note("CA2")
    assert routed.is_waiting(lambda sid: sid == "CA2")  # the first has not started
    clock.now_s += ROUTED_GRACE_SECS / 2
    routed.note("CA3")
    assert set(routed._routed_s) == {"CA2", "CA3"}


async def test_a_call_is_awaited_while_its_webhook_is_pending() -> None:
    routed = RoutedCalls(Clock())
    with suppress(ConnectionError), routed.answering():
        waiting = asyncio.ensure_future(routed.wait(lambda _: True))
        await asyncio.sleep(0)
        assert not waiting.done()
        raise ConnectionError
    await asyncio.wait_for(waiting, 20)
