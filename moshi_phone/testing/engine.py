"""An engine that gives the answers that a test wants, as fast as the test wants them."""

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
    """One call: a mirror, or given answers; each step takes as long as its engine's ``step_secs`` says.

    Args:
        engine: that opened it; without one it can do all that a fake session can.
        answers: the steps for the caller's frames, one each, in order; silence follows. None makes it a
            mirror, whose steps carry their number as text.

    Attributes:
        heard: the last minute of the caller's frames, in order, float32 ``[1920]`` each.
        steps: how many frames it has answered.
        sayings: what ``say`` was given; its engine's ``capabilities`` must hold ``say``.
        saying_stops: how often ``stop_saying`` was called.
        closed: whether it is closed.
    """

    def __init__(self, engine: FakeEngine | None = None, answers: Iterable[DuplexStep] | None = None) -> None:
        self.heard: deque[Pcm] = deque(maxlen=_HEARD_FRAMES)
        self.steps = 0
        self.sayings: list[str] = []
        self.saying_stops = 0
        self.closed = False
        self._engine = engine or FakeEngine(capabilities=frozenset((SAY, LISTEN)))
        self._answers = iter(answers) if answers is not None else None
        self._waiting: deque[Pcm] = deque()  # frames not answered yet
        self._news = asyncio.Event()  # a frame, words or the end

    def feed(self, pcm: Pcm) -> None:
        """Take the caller's next 80 ms."""
        self.heard.append(check_frame(pcm))
        self._waiting.append(pcm)
        self._news.set()

    async def outputs(self) -> AsyncIterator[DuplexStep]:
        """Answer them."""
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
        """What was fed and has not come out."""
        return len(self._waiting)

    @property
    def dropped_frames(self) -> int:
        """It drops nothing."""
        return 0

    @property
    def listens(self) -> bool:
        """Whether its answers tell the caller's words, as its engine's ``capabilities`` say."""
        return LISTEN in self._engine.capabilities

    def say(self, text: str) -> None:
        """Keep the words for the test to look at.

        Raises:
            Unsupported: when the engine's ``capabilities`` lack ``say``.
        """
        if SAY not in self._engine.capabilities:
            super().say(text)
        self.sayings.append(text)

    def stop_saying(self) -> None:
        """Count it."""
        self.saying_stops += 1

    async def close(self) -> None:
        """End the session."""
        if not self.closed:
            self.closed = True
            self._news.set()
            if self in self._engine.sessions:
                self._engine.sessions.remove(self)


class FakeEngine(DuplexEngine):
    """Hands out fake sessions.

    Args:
        capacity: how many at once.
        step_secs: how long a step takes, in seconds, by its number from 0.
        fails_at: the number of the step, from 1, at which a session breaks.
        answers: as ``FakeSession`` takes them; each session begins with the first.
        capabilities: what its sessions can do beside talking, ``say`` and ``listen``.

    Attributes:
        sessions: those that are open.
        opened: how many were opened since the start.
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
        """How many sessions are open."""
        return len(self.sessions)

    @property
    def error(self) -> str | None:
        """Whether it was started."""
        return None if self._ready else "The fake engine is not ready."

    async def start(self, progress: Progress) -> None:  # noqa: ARG002 - it takes no time
        """Be ready at once."""
        self._ready = True

    def open_session(self, request: CallOverrides = NO_OVERRIDES) -> FakeSession:
        """Give a session, if one is free."""
        self.check_request(request)
        if self.running >= self.capacity:
            raise EngineBusy(f"All {self.capacity} sessions are taken.")
        self.opened += 1
        self.sessions.append(FakeSession(self, self._answers))
        return self.sessions[-1]

    async def stop(self) -> None:
        """Take no more calls."""
        self._ready = False
