"""An engine that loads slowly, and prints when loading starts and ends; for ``--engine MODULE:CLASS``."""

from __future__ import annotations

import asyncio

from moshi_phone.engines.duplex import Progress
from moshi_phone.testing.engine import FakeEngine


class SlowEngine(FakeEngine):
    """A mirror."""

    name = "slow"

    def __init__(self) -> None:
        super().__init__()

    async def start(self, progress: Progress) -> None:
        progress("The slow engine loads.")
        await asyncio.sleep(1.0)
        await super().start(progress)

    async def stop(self) -> None:
        await super().stop()
        print("The slow engine was stopped.", flush=True)  # noqa: T201
