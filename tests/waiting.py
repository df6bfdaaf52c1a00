"""Waits for what other tasks, threads or processes bring about, where nothing tells of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], object], within_secs: float = 20.0) -> None:
    """Wait until something is so; TimeoutError if it is not within that time."""
    async with asyncio.timeout(within_secs):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)
