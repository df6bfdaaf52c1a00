"""Takes the place of sleep in tests."""

from __future__ import annotations

import asyncio


class Naps:
    """Notes how long somebody would have slept, and lets the others run instead."""

    def __init__(self) -> None:
        self.secs: list[float] = []

    async def __call__(self, secs: float) -> None:
        self.secs.append(secs)
        await asyncio.sleep(0)
