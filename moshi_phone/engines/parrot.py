"""An engine without a model: it greets, then repeats the caller. Needs no download and no accelerator.

With a delay of 0 it is a mirror without a greeting, for measuring the line.
The greeting was made with ``flite -voice slt`` (Debian's flite, a free synthesizer), trimmed and brought to
24 kHz with sox; the words are ``GREETING``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import soundfile

from moshi_phone.audio.formats import FRAME_SAMPLES, SAMPLE_RATE_HZ, Pcm
from moshi_phone.engines.duplex import (
    NO_OVERRIDES,
    CallOverrides,
    DuplexEngine,
    DuplexSession,
    DuplexStep,
    EngineBusy,
    EngineUnavailable,
    Progress,
    check_frame,
)
from moshi_phone.engines.step_queue import StepQueue

GREETING = "Hello! You have reached the parrot. Say something, and I will say it back to you."
GREETING_FILE = Path(__file__).with_name("parrot_greeting.flac")
_STEPS_KEPT = 50  # 4 s


class ParrotSession(DuplexSession):
    """Repeats the caller ``delay_samples`` later, over the greeting while that lasts.

    Args:
        engine: the parrot's engine.
        greeting: float32 ``[frames, 1920]``; may have no frames.
        delay_samples: at 24 kHz.
    """

    def __init__(self, engine: ParrotEngine, greeting: Pcm, delay_samples: int) -> None:
        self._engine = engine
        self._greeting = greeting
        self._words = GREETING.split() if len(greeting) else []  # not yet returned as text
        # The delay line: as long as the delay, whatever the frame length.
        self._heard = np.zeros(delay_samples, np.float32)
        self._steps = StepQueue(_STEPS_KEPT)
        self._fed_frames = 0  # position in the greeting
        self._dropped_frames = 0  # steps that were not read in time
        self._closed = False

    def feed(self, pcm: Pcm) -> None:
        """Answer the caller's next 80 ms at once."""
        began_s = time.perf_counter()
        # A delay line: audio enters at its end and leaves at its beginning.
        heard = np.concatenate((self._heard, check_frame(pcm)))
        said, self._heard = heard[:FRAME_SAMPLES], heard[FRAME_SAMPLES:]
        text = ""
        if self._fed_frames < len(self._greeting):
            # The sum of two voices may exceed full scale, where 16-bit samples would wrap around.
            said = np.clip(said + self._greeting[self._fed_frames], -1, 1)
            text = self._words_until((self._fed_frames + 1) / len(self._greeting))
        self._fed_frames += 1
        step = DuplexStep(said, text, {"parrot": (time.perf_counter() - began_s) * 1000})
        self._dropped_frames += self._steps.push(step)

    def outputs(self) -> AsyncIterator[DuplexStep]:
        """Return the steps in order, until the session is closed."""
        return self._steps.read()

    @property
    def backlog_frames(self) -> int:
        """Number of unread steps."""
        return len(self._steps)

    @property
    def dropped_frames(self) -> int:
        """Number of steps dropped because they were not read in time."""
        return self._dropped_frames

    async def close(self) -> None:
        """Release the session."""
        if not self._closed:
            self._closed = True
            self._engine.release()
            self._steps.close()

    def _words_until(self, share: float) -> str:
        """Return the greeting's next words up to this share of it, a space before each."""
        # The clip has no word times; spread evenly, words are off by a few tenths of a second.
        left = round(len(GREETING.split()) * (1 - share))
        said, self._words = self._words[: len(self._words) - left], self._words[len(self._words) - left :]
        return "".join(f" {word}" for word in said)


class ParrotEngine(DuplexEngine):
    """Opens parrot sessions.

    Args:
        delay_s: delay of the repetition.
        capacity: maximum number of simultaneous calls.
    """

    name = "parrot"

    def __init__(self, delay_s: float = 1.0, capacity: int = 64) -> None:
        self.capacity = capacity
        self._delay_samples = round(delay_s * SAMPLE_RATE_HZ)
        self._greeting: Pcm = np.zeros((0, FRAME_SAMPLES), np.float32)  # read by start()
        self._running = 0  # open sessions
        self._ready = False  # between start() and stop()

    @property
    def running(self) -> int:
        """See ``DuplexEngine``."""
        return self._running

    @property
    def error(self) -> str | None:
        """See ``DuplexEngine``. A parrot's only error is that it was not started."""
        return None if self._ready else "The parrot has not been started."

    async def start(self, progress: Progress) -> None:
        """Read the greeting.

        Raises:
            EngineUnavailable: when the clip cannot be read.
        """
        if self._delay_samples:  # a mirror, which measures the line, has no greeting
            progress(f"The parrot repeats the caller after {self._delay_samples / SAMPLE_RATE_HZ:g} s.")
            self._greeting = await asyncio.to_thread(_read_greeting)
        else:
            progress("The parrot is a mirror: it returns each frame of the caller at once.")
        self._ready = True

    def open_session(self, request: CallOverrides = NO_OVERRIDES) -> ParrotSession:
        """Open a session.

        Raises:
            EngineBusy: when all sessions are open, or the engine was not started.
            RequestRefused: when the call has settings, none of which the parrot supports.
        """
        self.check_request(request)
        if not self._ready or self._running >= self.capacity:
            raise EngineBusy(self.error or f"All sessions of the parrot are taken ({self.capacity}).")
        self._running += 1
        return ParrotSession(self, self._greeting, self._delay_samples)

    def release(self) -> None:
        """Count a session as closed."""
        self._running -= 1

    async def stop(self) -> None:
        """Open no more sessions."""
        self._ready = False


def _read_greeting() -> Pcm:
    try:
        samples, rate_hz = soundfile.read(GREETING_FILE, dtype="float32")
    except soundfile.LibsndfileError as error:
        raise EngineUnavailable(f"Cannot read the parrot's greeting {GREETING_FILE}: {error}") from error
    if rate_hz != SAMPLE_RATE_HZ or samples.ndim != 1:
        raise EngineUnavailable(f"{GREETING_FILE}: expected {SAMPLE_RATE_HZ} Hz mono, got {rate_hz} Hz")
    frames = -(-samples.size // FRAME_SAMPLES)
    padded = np.zeros((frames, FRAME_SAMPLES), np.float32)
    padded.ravel()[: samples.size] = samples
    return padded
