"""The queue of a session's steps, between their producer and ``outputs()``."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from moshi_phone.engines.duplex import DuplexStep, EngineFailed

UNREAD_STEPS = 64  # 5 s of steps that are not read


class StepQueue:
    """Steps in order, for one reader. Used on the event loop.

    When it is full, the oldest step is dropped: late speech is worthless.

    Args:
        limit_steps: how many may wait.
    """

    def __init__(self, limit_steps: int = UNREAD_STEPS) -> None:
        self._limit_steps = limit_steps
        self._steps: deque[DuplexStep] = deque()
        self._news = asyncio.Event()  # wakes the reader: a step, an error, or the end
        self._error: EngineFailed | None = None  # raised after the steps that wait
        self._closed = False  # ends the iteration at once, before the steps that wait

    def __len__(self) -> int:
        """Number of waiting steps."""
        return len(self._steps)

    def push(self, step: DuplexStep) -> bool:
        """Add a step; return whether the oldest was dropped for it."""
        full = len(self._steps) == self._limit_steps
        if full:
            self._steps.popleft()
        self._steps.append(step)
        self._news.set()
        return full

    def take_unread(self) -> list[DuplexStep]:
        """Remove and return all steps, once ``read`` has ended."""
        unread = list(self._steps)
        self._steps.clear()
        return unread

    def fail(self, error: EngineFailed) -> None:
        """End the steps with this error, after those in the queue."""
        self._error = error
        self._news.set()

    def close(self) -> None:
        """End the steps at once; those in the queue are dropped."""
        self._closed = True
        self._news.set()

    async def read(self) -> AsyncIterator[DuplexStep]:
        """Iterate over the steps until the end. Call it once.

        Raises:
            EngineFailed: what ``fail`` was given.
        """
        while True:
            await self._news.wait()
            self._news.clear()
            while self._steps and not self._closed:  # the reader may have closed it while it handled a step
                yield self._steps.popleft()
            if self._closed:
                return
            if self._error is not None:
                raise self._error
