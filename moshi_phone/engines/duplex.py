"""What answers a call: 80 ms of the caller in, 80 ms of speech out, both at once.

An engine is one a process and a session is one a call. Nothing here knows of phones, sockets or pipecat.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np

from moshi_phone.audio.formats import FRAME_SAMPLES, Pcm
from moshi_phone.audio.histogram import Histogram
from moshi_phone.runtime.errors import UserError

LAST_WORDS_SECS = 1.0  # how long a session may take for the last words of a caller who has hung up
HANG_SECS = 5.0  # how long a session may owe an answer, but for --hang-secs; then a caller hangs up

Progress = Callable[[str], None]
"""Takes one line for a person to read while something long goes on."""


WIRE = "wire"
"""In a step's ``timings_ms``: the way to a server and back, on which many frames can be at once."""

LISTEN = "listen"
"""In ``timings_ms``: listening for words, which an answer does not wait for."""


class EngineError(UserError):
    """An engine's own failure; its text is one sentence that a person can act on."""


BUGS = (Exception, SystemExit, KeyboardInterrupt)
"""What code of the user's own may raise by mistake; the last two, in a task, would end the event loop."""


class EngineUnavailable(EngineError):
    """The engine cannot be started: weights missing, hub unreachable, no accelerator."""


class EngineBusy(EngineError):
    """Every session is taken, or the engine is not ready."""


class Unsupported(EngineError):
    """The engine cannot do what is asked of it; another one can."""


class EngineFailed(EngineError):
    """A session broke in the middle of its call. The session is lost; the engine may live on."""


class RequestRefused(EngineError):
    """A call asks for something that this engine cannot do; the text says what, and what can be done."""


@dataclass(frozen=True, slots=True)
class CallOverrides:
    """What one call asks of its engine; None takes what the engine was started with.

    Attributes:
        persona: who the engine is to be, in words; never logged, and not in the ``repr``.
        voice: whose voice it speaks with, by name.
        greeting: the words that it says first; not in the ``repr`` either.
        temperature: of what it draws, where it draws.
    """

    persona: str | None = field(default=None, repr=False)
    voice: str | None = None
    greeting: str | None = field(default=None, repr=False)
    temperature: float | None = None

    @property
    def requested(self) -> frozenset[str]:
        """The names of what is asked for."""
        return frozenset(item.name for item in fields(self) if getattr(self, item.name) is not None)

    def or_else(self, other: CallOverrides) -> CallOverrides:
        """Take from another request what this one leaves open."""
        own = {item.name: getattr(self, item.name) for item in fields(self)}
        return replace(other, **{name: value for name, value in own.items() if value is not None})


NO_OVERRIDES = CallOverrides()


@dataclass(frozen=True, slots=True)
class CallerText:
    """A piece of what the caller said.

    Attributes:
        text: with a space where a word begins.
        at_s: when it was said, in seconds of the caller's audio since the session's first frame; earlier
            than the step that it comes with.
    """

    text: str
    at_s: float


@dataclass(frozen=True, slots=True)
class DuplexStep:
    """What a session says for one frame of the caller.

    Attributes:
        pcm: float32 ``[1920]``, 24 kHz mono, -1 to 1; or None where the engine has nothing to play yet.
        text: what the engine put into words during this frame, with a space where a word begins;
            mostly empty.
        timings_ms: how long each stage of this frame took, by the stage's name, in the order of the
            stages; stages wait for each other, so the sum may be more than the frame's own delay.
        caller_text: what was made out of the caller since the last step, in order; nothing where the
            engine does not listen for words.
        pause_probabilities: how likely the caller has paused, 0 to 1, one for each of the listening
            model's heads, which look further and further; above 0.5 in the third, Kyutai's example takes
            the caller's turn as over. Empty where the model has no such heads.
    """

    pcm: Pcm | None
    text: str = ""
    timings_ms: Mapping[str, float] = field(default_factory=dict[str, float])
    caller_text: tuple[CallerText, ...] = ()
    pause_probabilities: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """One of the servers that an engine hands its calls to.

    Attributes:
        name: host and port.
        kind: what kind of server.
        calls: how many it holds.
        capacity: how many it may hold.
        error: one sentence on why it gets no calls, or None while it does.
    """

    name: str
    kind: str
    calls: int
    capacity: int
    error: str | None


class DuplexSession(ABC):
    """One call's conversation. Made at the call's start, closed at its end, never used again.

    One step comes out for each frame that goes in, in order, but for frames that were dropped because
    the engine fell too far behind. A session that greets simply speaks first.
    """

    @property
    def display_name(self) -> str:
        """Name of the answering side, as the first words of a sentence."""
        return "The engine"

    @abstractmethod
    def feed(self, pcm: Pcm) -> None:
        """Give the session the caller's next 80 ms. Returns at once, and never waits for the model.

        Args:
            pcm: float32 ``[1920]``, 24 kHz mono; the session may keep it, so do not write to it again.

        Raises:
            ValueError: when the array has another shape or dtype.
        """

    @abstractmethod
    def outputs(self) -> AsyncIterator[DuplexStep]:
        """Iterate over the steps, in order, until the session is closed. Call it once.

        Raises:
            EngineFailed: from the iteration, when the session broke.
        """

    @property
    @abstractmethod
    def backlog_frames(self) -> int:
        """Frames that were fed and have not come out as a step yet."""

    @property
    @abstractmethod
    def dropped_frames(self) -> int:
        """Frames of the caller that were dropped since the start, because the backlog was too long."""

    def say(self, text: str) -> None:
        """Have these words said, in the engine's own voice, while it goes on listening. Returns at once.

        They come out as steps, as everything does; what is said while others wait comes after them.

        Raises:
            Unsupported: when the engine cannot.
            ValueError: when there is nothing in the text to say, or too much.
        """
        raise Unsupported(f"This engine cannot say given words ({len(text)} characters); --engine moshi can.")

    def stop_saying(self) -> None:  # noqa: B027 - an engine that cannot say has nothing to stop
        """Drop the words given to ``say`` that have not begun. A word under way is finished."""

    @property
    def listens(self) -> bool:
        """Whether the steps tell the caller's words (``caller_text``)."""
        return False

    def set_temperature(self, temperature: float) -> None:
        """Draw at another temperature from the next step on.

        Raises:
            Unsupported: when the engine cannot change it during a call.
            ValueError: when it is below 0.
        """
        raise Unsupported(f"This engine cannot change the temperature during a call (to {temperature:g}).")

    async def said(self) -> None:  # noqa: B027 - an engine that cannot say has never anything to wait for
        """Wait until all that was given to ``say`` has been said, or the session has ended."""

    async def finish_listening(self) -> tuple[CallerText, ...]:
        """Listen to the end of what was fed, and give the caller's words that no step has carried.

        Called once, at the call's end, when nobody reads ``outputs()`` any more, and before ``close()``. What
        is fed after it is let go. It takes ``LAST_WORDS_SECS`` at most.
        """
        return ()

    @property
    def untranscribed_frames(self) -> int:
        """Frames of the caller that were answered, but not listened to for words, for want of time."""
        return 0

    @abstractmethod
    async def close(self) -> None:
        """End the session and free all that it holds, also in the middle of a step. May be called twice."""


class DuplexEngine(ABC):
    """Holds what all sessions share (a model, a voice) and hands out sessions.

    Attributes:
        name: as ``--engine`` spells it.
        capacity: how many sessions can be open at once.
        running: how many are open.
        capabilities: what its sessions can do besides talking: ``say`` (given words), ``listen`` (give
            the caller's words).
        lost_calls: how many calls ended since the start because their session broke.
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
        """How many sessions are open now."""

    @property
    @abstractmethod
    def error(self) -> str | None:
        """One sentence on what is wrong with the engine, or None while it can take calls."""

    def watch(self) -> None:  # noqa: B027 - an engine that cannot hang has nothing to look for
        """Act on what hangs. A watchdog calls it twice a second: reading ``error`` changes nothing."""

    @property
    def voices(self) -> Sequence[str]:
        """The voices that a call may ask for by name; none where it has no choice."""
        return ()

    @property
    def step_times(self) -> Mapping[int, Histogram]:
        """How long steps took, by how many calls were in them; empty where calls are not stepped together."""
        return {}

    @property
    def servers(self) -> Sequence[ServerStatus]:
        """The servers that it hands its calls to; none where it answers them itself."""
        return ()

    @abstractmethod
    async def start(self, progress: Progress) -> None:
        """Load, warm up, and be ready to open sessions.

        Raises:
            EngineUnavailable: with one sentence that names the remedy.
        """

    def prepare(self, request: CallOverrides) -> None:
        """Get ready what a call that will come in a moment asks for. Returns at once.

        The webhook calls it while the phone rings. What is not ready when the call begins is waited for then.

        Raises:
            RequestRefused: when this engine cannot fulfil the request.
        """
        # Nothing to prefetch here; an impossible request is still refused while the phone rings.
        self.check_request(request)

    @abstractmethod
    def open_session(self, request: CallOverrides = NO_OVERRIDES) -> DuplexSession:
        """Give a session at once.

        Args:
            request: what this call asks for.

        Raises:
            EngineBusy: when ``running`` has reached ``capacity``, or the engine is not ready.
            RequestRefused: when this engine cannot fulfil the request.
        """

    def check_request(self, request: CallOverrides) -> None:
        """Make sure that the request asks for nothing that this engine does not take.

        Raises:
            RequestRefused: naming the first thing that it does not.
        """
        if beyond := sorted(request.requested - self.supported_overrides):
            raise RequestRefused(f"The engine {self.name} takes no {beyond[0]} for a call; leave it out.")

    @abstractmethod
    async def stop(self) -> None:
        """Close what is open and free everything. May be called twice."""


def check_frame(pcm: Pcm) -> Pcm:
    """Give the frame back if it is float32 ``[1920]``.

    Raises:
        ValueError: saying what was expected and what came.
    """
    if pcm.shape != (FRAME_SAMPLES,) or pcm.dtype != np.float32:
        raise ValueError(f"expected float32 [{FRAME_SAMPLES}], got {pcm.dtype} {list(pcm.shape)}")
    return pcm
