from __future__ import annotations

import asyncio
import time

import pytest

from moshi_phone.testing import run_simulated


def test_an_hour_passes_at_once() -> None:
    async def hour() -> float:
        began_s = asyncio.get_running_loop().time()
        await asyncio.sleep(3_600)
        return asyncio.get_running_loop().time() - began_s

    began_s = time.perf_counter()
    assert run_simulated(hour()) == pytest.approx(3_600)
    assert time.perf_counter() - began_s < 5


def test_timers_fire_in_order() -> None:
    async def order() -> list[int]:
        done: list[int] = []

        async def at(secs: int) -> None:
            await asyncio.sleep(secs)
            done.append(secs)

        await asyncio.gather(*(at(secs) for secs in (30, 10, 20)))
        return done

    assert run_simulated(order()) == [10, 20, 30]


def test_a_timeout_uses_simulated_time() -> None:
    async def waits() -> None:
        async with asyncio.timeout(60):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        run_simulated(waits())
