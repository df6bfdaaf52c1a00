"""What a call and an engine exchange: requests, steps, the state of servers, and errors.

``duplex.py`` has the interface, and all of these names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

from moshi_phone.audio.formats import Pcm
from moshi_phone.runtime.errors import UserError

WIRE = "wire"
"""In a step's ``timings_ms``: the round trip to a server; many frames can be under way at once."""

LISTEN = "listen"
"""In ``timings_ms``: transcription, which does not delay the answer."""


class EngineError(UserError):
    """An engine's failure; the message is one sentence that the user can act on."""


BUGS = (Exception, SystemExit, KeyboardInterrupt)
"""What code of the user's own may raise by mistake; the last two, in a task, would end the event loop."""


class EngineUnavailable(EngineError):
    """The engine cannot be started: weights missing, hub unreachable, no accelerator."""


class EngineBusy(EngineError):
    """Every session is taken, or the engine is not ready."""


class Unsupported(EngineError):
    """The engine lacks a feature that another engine has."""


class EngineFailed(EngineError):
    """A session failed during its call. The session is lost; the engine may continue."""


class RequestRefused(EngineError):
    """A call requests an unsupported setting; the message gives the remedy."""


@dataclass(frozen=True, slots=True)
class CallOverrides:
    """One call's settings; None means the engine's default.

    Attributes:
        persona: the bot's role, in words; never logged, and not in the ``repr``.
        voice: name of its voice.
        greeting: the words that it says first; not in the ``repr`` either.
        temperature: of its sampling, if it samples.
    """

    persona: str | None = field(default=None, repr=False)
    voice: str | None = None
    greeting: str | None = field(default=None, repr=False)
    temperature: float | None = None

    @property
    def requested(self) -> frozenset[str]:
        """The names of the fields that are set."""
        return frozenset(item.name for item in fields(self) if getattr(self, item.name) is not None)

    def or_else(self, other: CallOverrides) -> CallOverrides:
        """Fill unset fields from another request."""
        own = {item.name: getattr(self, item.name) for item in fields(self)}
        return replace(other, **{name: value for name, value in own.items() if value is not None})


NO_OVERRIDES = CallOverrides()


@dataclass(frozen=True, slots=True)
class CallerText:
    """A piece of the caller's words.

    Attributes:
        text: with a space where a word begins.
        at_s: when it was said, in seconds of the caller's audio since the session's first frame; earlier
            than the step that it comes with.
    """

    text: str
    at_s: float


@dataclass(frozen=True, slots=True)
class DuplexStep:
    """A session's output for one frame of the caller.

    Attributes:
        pcm: float32 ``[1920]``, 24 kHz mono, -1 to 1; or None while the engine has nothing to play yet.
        text: the bot's words of this frame, with a space where a word begins; mostly empty.
        timings_ms: how long each stage of this frame took, by the stage's name, in the order of the
            stages; stages wait for each other, so the sum may be more than the frame's own delay.
        caller_text: the caller's words since the last step, in order; empty without transcription.
        pause_probabilities: that the caller has paused, 0 to 1, one for each head of the transcription
            model, with growing horizons; above 0.5 in the third, Kyutai's example considers the caller's
            turn over. Empty if the model has no such heads.
    """

    pcm: Pcm | None
    text: str = ""
    timings_ms: Mapping[str, float] = field(default_factory=dict[str, float])
    caller_text: tuple[CallerText, ...] = ()
    pause_probabilities: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class BackendStatus:
    """One of an engine's servers.

    Attributes:
        name: host and port.
        kind: the kind of server.
        calls: number of its running calls.
        capacity: maximum number of its calls.
        error: one sentence on why it is out of service, or None.
    """

    name: str
    kind: str
    calls: int
    capacity: int
    error: str | None
