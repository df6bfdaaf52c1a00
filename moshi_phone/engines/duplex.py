"""The interface of engines: 80 ms of the caller in, 80 ms of speech out, both at once.

A process has one engine, and a call one session. Nothing here depends on phones, sockets or pipecat.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import numpy as np

from moshi_phone.audio.formats import FRAME_SAMPLES, Pcm
from moshi_phone.audio.histogram import Histogram
from moshi_phone.engines.duplex_types import (
    BUGS,
    LISTEN,
    NO_OVERRIDES,
    WIRE,
    BackendStatus,
    CallerText,
    CallOverrides,
    DuplexStep,
    EngineBusy,
    EngineError,
    EngineFailed,
    EngineUnavailable,
    RequestRefused,
    Unsupported,
)

__all__ = [
    "BUGS",
    "HANG_SECS",
    "LAST_WORDS_SECS",
    "LISTEN",
    "NO_OVERRIDES",
    "WIRE",
    "BackendStatus",
    "CallOverrides",
    "CallerText",
    "DuplexEngine",
    "DuplexSession",
    "DuplexStep",
    "EngineBusy",
    "EngineError",
    "EngineFailed",
    "EngineUnavailable",
    "Progress",
    "RequestRefused",
    "Unsupported",
    "check_frame",
]

LAST_WORDS_SECS = 1.0  # time for transcribing the last words after the caller has hung up
HANG_SECS = 5.0  # default of --hang-secs: without output for so long, a session counts as hung

Progress = Callable[[str], None]
"""Receives progress lines for the user during a long operation."""


class DuplexSession(ABC):
    """One call's conversation. Made at the call's start, closed at its end, never used again.

    Each frame that is fed yields one step, in order, except for frames that were dropped because the engine
    was too far behind. A session that greets simply speaks first.
    """

    @property
    def display_name(self) -> str:
        """Name of the answering side, as the first words of a sentence."""
        return "The engine"

    @abstractmethod
    def feed(self, pcm: Pcm) -> None:
        """Feed the caller's next 80 ms. Returns at once, and never waits for the model.

        Args:
            pcm: float32 ``[1920]``, 24 kHz mono; do not change it afterwards, because the session may keep
                it.

        Raises:
            ValueError: when the array has another shape or dtype.
        """

    @abstractmethod
    def outputs(self) -> AsyncIterator[DuplexStep]:
        """Iterate over the steps, in order, until the session is closed. Call it once.

        Raises:
            EngineFailed: from the iteration, when the session failed.
        """

    @property
    @abstractmethod
    def backlog_frames(self) -> int:
        """Frames that were fed and not answered yet."""

    @property
    @abstractmethod
    def dropped_frames(self) -> int:
        """Frames of the caller that were dropped since the start because the backlog was full."""

    def say(self, text: str) -> None:
        """Queue words to be said in the engine's own voice, while it keeps listening. Returns at once.

        They come out as steps, like all output, after words that are queued already.

        Raises:
            Unsupported: when the engine cannot say given words.
            ValueError: when the text has no words, or too many.
        """
        raise Unsupported(f"This engine cannot say given words ({len(text)} characters); --engine moshi can.")

    def stop_saying(self) -> None:  # noqa: B027 - an engine that cannot say has nothing to stop
        """Drop the words given to ``say`` that have not started. A word in progress is completed."""

    @property
    def listens(self) -> bool:
        """Whether the steps carry the caller's words (``caller_text``)."""
        return False

    def set_temperature(self, temperature: float) -> None:
        """Change the sampling temperature from the next step on.

        Raises:
            Unsupported: when the engine cannot change it during a call.
            ValueError: when it is below 0.
        """
        raise Unsupported(f"This engine cannot change the temperature during a call (to {temperature:g}).")

    async def said(self) -> None:  # noqa: B027 - an engine that cannot say words has nothing to wait for
        """Wait until all queued words have been said, or the session has ended."""

    async def finish_listening(self) -> tuple[CallerText, ...]:
        """Transcribe the remaining frames, and return the caller's words that no step has carried.

        Called once, at the call's end, after the last read of ``outputs()`` and before ``close()``. Frames
        fed later are ignored. It takes ``LAST_WORDS_SECS`` at most.
        """
        return ()

    @property
    def untranscribed_frames(self) -> int:
        """Frames of the caller that were answered but not transcribed, for lack of time."""
        return 0

    @property
    def codec_delay_ms(self) -> float:
        """Constant delay that codecs on the way to the model and back add to the audio itself.

        It is not visible in the times of the steps.
        """
        return 0.0

    @abstractmethod
    async def close(self) -> None:
        """End the session and free its resources, even during a step. May be called twice."""


class DuplexEngine(ABC):
    """Holds what all sessions share (a model, a voice), and opens sessions.

    Attributes:
        name: as ``--engine`` spells it.
        capacity: how many sessions can be open at once.
        running: how many are open.
        capabilities: what its sessions can do besides talking: ``say`` (given words), ``listen`` (give
            the caller's words).
        lost_calls: how many calls ended since the start because their session failed.
        supported_overrides: which fields of a ``CallOverrides`` it can fulfil.
    """

    name: str
    capacity: int
    capabilities: frozenset[str] = frozenset()
    lost_calls: int = 0
    supported_overrides: frozenset[str] = frozenset()

    @property
    @abstractmethod
    def running(self) -> int:
        """Number of open sessions."""

    @property
    @abstractmethod
    def error(self) -> str | None:
        """One sentence on why the engine takes no calls, or None while it does."""

    def watch(self) -> None:  # noqa: B027 - an engine that cannot hang has nothing to watch
        """Detect and handle hangs. A watchdog calls it twice a second; reading ``error`` changes nothing."""

    @property
    def voices(self) -> Sequence[str]:
        """Names of the voices that a call may choose; empty if there is no choice."""
        return ()

    @property
    def step_times(self) -> Mapping[int, Histogram]:
        """Durations of steps, by their number of calls; empty if calls are not stepped together."""
        return {}

    @property
    def servers(self) -> Sequence[BackendStatus]:
        """The servers that its calls go to; empty if it answers them itself."""
        return ()

    @abstractmethod
    async def start(self, progress: Progress) -> None:
        """Load, warm up, and be ready to open sessions.

        Raises:
            EngineUnavailable: with one sentence that names the remedy.
        """

    def prepare(self, request: CallOverrides) -> None:
        """Begin to prepare a call that is about to start. Returns at once.

        The webhook calls it while the phone rings. The call waits for the rest of the preparation.

        Raises:
            RequestRefused: when this engine cannot fulfil the request.
        """
        # Nothing to prefetch here; an impossible request is still refused while the phone rings.
        self.check_request(request)

    @abstractmethod
    def open_session(self, request: CallOverrides = NO_OVERRIDES) -> DuplexSession:
        """Open a session, at once.

        Args:
            request: this call's settings.

        Raises:
            EngineBusy: when ``running`` has reached ``capacity``, or the engine is not ready.
            RequestRefused: when this engine cannot fulfil the request.
        """

    def check_request(self, request: CallOverrides) -> None:
        """Check that this engine supports all fields of a request.

        Raises:
            RequestRefused: names the first unsupported field.
        """
        if beyond := sorted(request.requested - self.supported_overrides):
            raise RequestRefused(f"The engine {self.name} takes no {beyond[0]} for a call; leave it out.")

    @abstractmethod
    async def stop(self) -> None:
        """Close all sessions and free everything. May be called twice."""


def check_frame(pcm: Pcm) -> Pcm:
    """Return the frame if it is float32 ``[1920]``.

    Raises:
        ValueError: states the expected and the actual shape and dtype.
    """
    if pcm.shape != (FRAME_SAMPLES,) or pcm.dtype != np.float32:
        raise ValueError(f"expected float32 [{FRAME_SAMPLES}], got {pcm.dtype} {list(pcm.shape)}")
    return pcm
