"""An example engine: it plays a low tone, and a high one while the caller speaks.

``uv run bot.py --engine examples.tone_engine:ToneEngine`` answers calls with it. A process has one engine,
and each call has one session (engines/duplex.py). ``feed`` runs on the event loop: slow work needs a thread.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np

from moshi_phone.audio.formats import FRAME_SAMPLES, SAMPLE_RATE_HZ, Pcm
from moshi_phone.audio.silence import is_silent
from moshi_phone.engines import duplex
from moshi_phone.engines.step_queue import StepQueue

LOW_HZ, HIGH_HZ, LOUDNESS = 220.0, 440.0, 0.1
MAX_STEPS = 64  # 5 s; unread steps beyond that are dropped


class ToneSession(duplex.DuplexSession):
    """One call."""

    dropped_frames = 0

    def __init__(self, engine: ToneEngine) -> None:
        self._engine = engine
        self._steps = StepQueue(MAX_STEPS)
        self._phase = 0.0
        self._closed = False

    def feed(self, pcm: Pcm) -> None:
        """Answer 80 ms with 80 ms."""
        step_rad = 2 * np.pi * (LOW_HZ if is_silent(pcm) else HIGH_HZ) / SAMPLE_RATE_HZ
        phases = self._phase + step_rad * np.arange(1, FRAME_SAMPLES + 1)
        self._phase = float(phases[-1] % (2 * np.pi))  # the next frame continues there, without a click
        self._steps.push(duplex.DuplexStep((LOUDNESS * np.sin(phases)).astype(np.float32)))

    def outputs(self) -> AsyncIterator[duplex.DuplexStep]:
        """Return the steps in order."""
        return self._steps.read()

    @property
    def backlog_frames(self) -> int:
        """Number of unread steps."""
        return len(self._steps)

    async def close(self) -> None:
        """End the call."""
        if not self._closed:  # it may be closed twice
            self._closed = True
            self._engine.running -= 1
            self._steps.close()


class ToneEngine(duplex.DuplexEngine):
    """Holds four calls, needs nothing, and is ready at once."""

    name, capacity, running, error = "tone", 4, 0, None

    async def start(self, progress: duplex.Progress) -> None:
        """Load nothing."""
        progress("The tone sounds.")

    def open_session(self, request: duplex.CallOverrides = duplex.NO_OVERRIDES) -> ToneSession:
        """Open a session, if one is free."""
        self.check_request(request)  # raises if the call requests a persona: a tone has none
        if self.running >= self.capacity:
            raise duplex.EngineBusy(f"All {self.capacity} tones are taken.")
        self.running += 1
        return ToneSession(self)

    async def stop(self) -> None:
        """Free nothing."""
