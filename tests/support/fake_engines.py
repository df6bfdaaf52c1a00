"""Engines that do what a test needs, on the event loop's clock."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from moshi_phone.audio.formats import Pcm
from moshi_phone.engines.duplex import (
    NO_OVERRIDES,
    CallOverrides,
    DuplexEngine,
    DuplexSession,
    DuplexStep,
    EngineBusy,
    EngineFailed,
    Progress,
)


class FakeSession(DuplexSession):
    """A mirror whose every step takes as long as ``step_secs`` says."""

    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine
        self._waiting: deque[Pcm] = deque()
        self._news = asyncio.Event()
        self.steps = 0
        self.closed = False

    def feed(self, pcm: Pcm) -> None:
        self._waiting.append(pcm)
        self._news.set()

    async def outputs(self) -> AsyncIterator[DuplexStep]:
        while not self.closed:
            await self._news.wait()
            self._news.clear()
            while self._waiting and not self.closed:
                await asyncio.sleep(self._engine.step_secs(self.steps))
                self.steps += 1
                if self.steps == self._engine.fails_at:
                    raise EngineFailed("The fake engine failed, as asked.")
                yield DuplexStep(self._waiting.popleft(), text=f" {self.steps}", timings_ms={"fake": 1.0})

    @property
    def backlog_frames(self) -> int:
        return len(self._waiting)

    @property
    def dropped_frames(self) -> int:
        return 0

    async def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._engine.sessions.remove(self)
            self._news.set()


class FakeEngine(DuplexEngine):
    """Hands out mirrors."""

    name = "fake"

    def __init__(
        self,
        capacity: int = 4,
        step_secs: Callable[[int], float] = lambda _: 0.0,
        fails_at: int | None = None,
    ) -> None:
        self.capacity = capacity
        self.step_secs = step_secs
        self.fails_at = fails_at
        self.sessions: list[FakeSession] = []
        self.opened = 0
        self._ready = False

    @property
    def running(self) -> int:
        return len(self.sessions)

    @property
    def error(self) -> str | None:
        return None if self._ready else "The fake engine is not ready."

    async def start(self, progress: Progress) -> None:
        self._ready = True

    def open_session(self, request: CallOverrides = NO_OVERRIDES) -> FakeSession:
        self.check_request(request)
        if self.running >= self.capacity:
            raise EngineBusy(f"All {self.capacity} sessions are taken.")
        self.opened += 1
        self.sessions.append(FakeSession(self))
        return self.sessions[-1]

    async def stop(self) -> None:
        self._ready = False
