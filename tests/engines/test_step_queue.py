from __future__ import annotations

import asyncio

import pytest

from moshi_phone.engines.duplex import DuplexStep, EngineFailed
from moshi_phone.engines.step_queue import StepQueue


def step(number: int) -> DuplexStep:
    return DuplexStep(None, str(number))


async def all_of(queue: StepQueue) -> list[str]:
    return [step.text async for step in queue.read()]


async def test_steps_come_in_order_until_it_is_closed() -> None:
    queue = StepQueue()
    reading = asyncio.create_task(all_of(queue))
    for number in range(3):
        queue.push(step(number))
        await asyncio.sleep(0)
    queue.close()
    assert await reading == ["0", "1", "2"]


async def test_unread_steps_are_dropped_oldest_first() -> None:
    queue = StepQueue(2)
    assert [queue.push(step(number)) for number in range(4)] == [False, False, True, True]
    assert len(queue) == 2
    steps = queue.read()
    assert [(await anext(steps)).text for _ in range(2)] == ["2", "3"]


async def test_an_error_comes_after_earlier_steps() -> None:
    queue = StepQueue()
    queue.push(step(0))
    queue.fail(EngineFailed("It broke."))
    steps = queue.read()
    assert (await anext(steps)).text == "0"
    with pytest.raises(EngineFailed, match="It broke"):
        await anext(steps)


async def test_waiting_steps_are_dropped_at_the_close() -> None:
    queue = StepQueue()
    for number in range(2):
        queue.push(step(number))
    steps = queue.read()
    assert (await anext(steps)).text == "0"
    queue.close()
    with pytest.raises(StopAsyncIteration):
        await anext(steps)
