"""Replaces sleep in tests."""

from __future__ import annotations

import asyncio


class Naps:
    """Records the requested sleeps, and yields to other tasks instead."""

    def __init__(self) -> None:
        self.secs: list[float] = []

    async def __call__(self, secs: float) -> None:
        self.secs.append(secs)
        await asyncio.sleep(0)
