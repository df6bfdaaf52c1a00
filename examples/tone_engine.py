"""An engine of one's own: it holds a low tone, and a high one while the caller speaks.

``uv run bot.py --engine examples.tone_engine:ToneEngine`` answers calls with it. An engine is one a process,
a session one a call (engines/duplex.py). ``feed`` runs on the event loop: what takes long needs a thread.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np

from moshi_phone.audio.formats import FRAME_SAMPLES, SAMPLE_RATE_HZ, Pcm
from moshi_phone.audio.silence import is_silent
from moshi_phone.engines import duplex
from moshi_phone.engines.step_queue import StepQueue

LOW_HZ, HIGH_HZ, LOUDNESS = 220.0, 440.0, 0.1
MAX_STEPS = 64  # what nobody takes beyond that, 5 s, is let go


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
        self._phase = float(phases[-1] % (2 * np.pi))  # the next frame goes on there, so nothing clicks
        self._steps.push(duplex.DuplexStep((LOUDNESS * np.sin(phases)).astype(np.float32)))

    def outputs(self) -> AsyncIterator[duplex.DuplexStep]:
        """Give the answers as they come."""
        return self._steps.read()

    @property
    def backlog_frames(self) -> int:
        """What was fed and has not come out."""
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
        """Give a session, if one is free."""
        self.check_request(request)  # a tone takes no persona, and says so
        if self.running >= self.capacity:
            raise duplex.EngineBusy(f"All {self.capacity} tones are taken.")
        self.running += 1
        return ToneSession(self)

    async def stop(self) -> None:
        """Free nothing."""
