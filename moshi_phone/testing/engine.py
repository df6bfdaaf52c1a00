"""A fake engine with given answers and a given speed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable

import numpy as np

from moshi_phone.audio.formats import FRAME_SAMPLES, Pcm
from moshi_phone.engines.duplex import (
    NO_OVERRIDES,
    CallOverrides,
    DuplexEngine,
    DuplexSession,
    DuplexStep,
    EngineBusy,
    EngineFailed,
    Progress,
    check_frame,
)

SAY, LISTEN = "say", "listen"
_HEARD_FRAMES = 750  # a minute
_SILENCE = DuplexStep(np.zeros(FRAME_SAMPLES, np.float32))


class FakeSession(DuplexSession):
    """One call: a mirror, or given answers; a step takes its engine's ``step_secs``.

    Args:
        engine: its engine; without one, it has all capabilities.
        answers: the steps for the caller's frames, one each, in order; silence follows. None makes it a
            mirror, whose steps carry their number as text.

    Attributes:
        heard: the last minute of the caller's frames, in order, float32 ``[1920]`` each.
        steps: number of answered frames.
        sayings: the texts given to ``say``; its engine's ``capabilities`` must contain ``say``.
        saying_stops: number of calls of ``stop_saying``.
        closed: whether it is closed.
    """

    def __init__(self, engine: FakeEngine | None = None, answers: Iterable[DuplexStep] | None = None) -> None:
        self.heard: deque[Pcm] = deque(maxlen=_HEARD_FRAMES)
        self.steps = 0
        self.sayings: list[str] = []
        self.saying_stops = 0
        self.closed = False
        self._engine = engine or FakeEngine(capabilities=frozenset((SAY, LISTEN)))
        self._answers = iter(answers) if answers is not None else None  # None: a mirror
        self._waiting: deque[Pcm] = deque()  # frames not answered yet
        self._news = asyncio.Event()  # a frame, words or the end

    def feed(self, pcm: Pcm) -> None:
        """Receive the caller's next 80 ms."""
        self.heard.append(check_frame(pcm))
        self._waiting.append(pcm)
        self._news.set()

    async def outputs(self) -> AsyncIterator[DuplexStep]:
        """Yield the answers."""
        while not self.closed:
            await self._news.wait()
            self._news.clear()
            while self._waiting and not self.closed:
                await asyncio.sleep(self._engine.step_secs(self.steps))
                self.steps += 1
                if self.steps == self._engine.fails_at:
                    raise EngineFailed("The fake engine failed, as asked.")
                yield self._answer(self._waiting.popleft())

    def _answer(self, pcm: Pcm) -> DuplexStep:
        if self._answers is None:
            return DuplexStep(pcm, text=f" {self.steps}", timings_ms={"fake": 1.0})
        return next(self._answers, _SILENCE)

    @property
    def backlog_frames(self) -> int:
        """Number of frames without an answer yet."""
        return len(self._waiting)

    @property
    def dropped_frames(self) -> int:
        """Always 0: no frame is dropped."""
        return 0

    @property
    def listens(self) -> bool:
        """Whether its answers contain the caller's words, by its engine's ``capabilities``."""
        return LISTEN in self._engine.capabilities

    def say(self, text: str) -> None:
        """Store the words for the test.

        Raises:
            Unsupported: when the engine's ``capabilities`` lack ``say``.
        """
        if SAY not in self._engine.capabilities:
            super().say(text)
        self.sayings.append(text)

    def stop_saying(self) -> None:
        """Count the call."""
        self.saying_stops += 1

    async def close(self) -> None:
        """End the session."""
        if not self.closed:
            self.closed = True
            self._news.set()
            if self in self._engine.sessions:
                self._engine.sessions.remove(self)


class FakeEngine(DuplexEngine):
    """Opens fake sessions.

    Args:
        capacity: maximum number of open sessions.
        step_secs: duration of a step in seconds, by its number from 0.
        fails_at: number of the step, from 1, at which a session fails.
        answers: see ``FakeSession``; each session starts with the first.
        capabilities: what its sessions can do besides talking: ``say`` and ``listen``.

    Attributes:
        sessions: the open sessions.
        opened: number of sessions opened since the start.
    """

    name = "fake"

    def __init__(
        self,
        capacity: int = 4,
        step_secs: Callable[[int], float] = lambda _: 0.0,
        fails_at: int | None = None,
        answers: Iterable[DuplexStep] | None = None,
        capabilities: frozenset[str] = frozenset(),
    ) -> None:
        self.capabilities = capabilities
        self.capacity = capacity
        self.step_secs = step_secs
        self.fails_at = fails_at
        self.sessions: list[FakeSession] = []
        self.opened = 0  # sessions, in all
        self._answers = None if answers is None else list(answers)
        self._ready = False

    @property
    def running(self) -> int:
        """Number of open sessions."""
        return len(self.sessions)

    @property
    def error(self) -> str | None:
        """An error until it is started."""
        return None if self._ready else "The fake engine is not ready."

    async def start(self, progress: Progress) -> None:  # noqa: ARG002 - it takes no time
        """Start at once."""
        self._ready = True

    def open_session(self, request: CallOverrides = NO_OVERRIDES) -> FakeSession:
        """Open a session, if one is free."""
        self.check_request(request)
        if self.running >= self.capacity:
            raise EngineBusy(f"All {self.capacity} sessions are taken.")
        self.opened += 1
        self.sessions.append(FakeSession(self, self._answers))
        return self.sessions[-1]

    async def stop(self) -> None:
        """Accept no more calls."""
        self._ready = False
