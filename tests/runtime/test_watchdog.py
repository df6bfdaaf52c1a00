from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from moshi_phone.runtime import watchdog
from moshi_phone.runtime.watchdog import Watchdog
from moshi_phone.testing import run_simulated

SECS = 0.1


class Watched:
    """Counts how often its watchdog has expired."""

    def __init__(self) -> None:
        self.expired = 0
        self.watchdog = Watchdog(SECS, self._expire)
        self.watchdog.start()

    def _expire(self) -> None:
        self.expired += 1


@pytest.fixture
def freeze(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Freeze the event loop as SIGSTOP and SIGCONT do, for the shortest relevant time."""
    monkeypatch.setattr(watchdog, "LATE_S", 0.3)
    return lambda: time.sleep(SECS + 0.4)


async def test_it_expires_once() -> None:
    watched = Watched()
    await asyncio.sleep(4 * SECS)
    assert watched.expired == 1
    assert not watched.watchdog.is_running


async def test_a_stopped_or_restarted_watchdog_does_not_expire() -> None:
    watched, stopped = Watched(), Watched()
    stopped.watchdog.stop()
    for _ in range(4):
        await asyncio.sleep(SECS / 2)
        watched.watchdog.start()
    assert (watched.expired, stopped.expired) == (0, 0)
    assert watched.watchdog.is_running
    watched.watchdog.stop()


def test_a_pause_leaves_the_timer_for_the_next_start() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        expired_s: list[float] = []
        watched = Watchdog(10, lambda: expired_s.append(loop.time() - began_s))
        timers = set[asyncio.TimerHandle | None]()
        for _ in range(40):  # until 4 s
            watched.start()
            timers.add(watched._timer)
            await asyncio.sleep(0.05)
            watched.pause()
            assert not watched.is_running
            await asyncio.sleep(0.05)
        assert len(timers) == 1
        watched.start()
        await asyncio.sleep(9)
        watched.pause()
        await asyncio.sleep(3)
        assert expired_s == []
        watched.start()  # at 16 s
        await asyncio.sleep(30)
        assert expired_s == [pytest.approx(26)]

    run_simulated(main())


async def test_a_frozen_process_gives_one_more_period(freeze: Callable[[], None]) -> None:
    rescued, hung = Watched(), Watched()
    freeze()
    await asyncio.sleep(SECS / 4)
    assert (rescued.expired, hung.expired) == (0, 0)
    rescued.watchdog.stop()  # it has done its work meanwhile
    await asyncio.sleep(3 * SECS)
    assert (rescued.expired, hung.expired) == (0, 1)


async def test_it_gives_no_second_one(freeze: Callable[[], None]) -> None:
    hung = Watched()
    freeze()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    freeze()
    await asyncio.sleep(SECS / 4)
    assert hung.expired == 1
