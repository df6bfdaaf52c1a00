"""Waits for a condition that other tasks, threads or processes bring about without a notification."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


async def until(condition: Callable[[], object], within_secs: float = 20.0) -> None:
    """Wait until a condition holds; raise TimeoutError if it does not within that time."""
    async with asyncio.timeout(within_secs):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)


def wait_until(condition: Callable[[], object], within_secs: float = 60.0) -> None:
    """Wait, outside an event loop, until a condition holds; fail if it does not within that time."""
    deadline_s = time.monotonic() + within_secs
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
