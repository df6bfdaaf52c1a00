"""What happens in a conversation, by its standard names. Times are seconds since the start of the call."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Response:
    """The bot answers a turn of the caller's.

    Attributes:
        at_s: when the caller's turn ended.
        gap_ms: from there to the bot's next start; negative where it began before.
    """

    at_s: float
    gap_ms: float


@dataclass(frozen=True, slots=True)
class Interruption:
    """The caller begins a turn while the bot speaks.

    Attributes:
        at_s: when the caller began.
        stop_ms: from there to the end of what the bot was saying; None where the call ended before.
        yielded: whether the bot stopped while the caller was still speaking.
    """

    at_s: float
    stop_ms: float | None
    yielded: bool


@dataclass(frozen=True, slots=True)
class Pause:
    """The caller pauses within a turn.

    Attributes:
        at_s: when it began.
        secs: how long it lasted.
        taken: whether the bot took the turn: it began to speak in the pause, for more than a backchannel.
    """

    at_s: float
    secs: float
    taken: bool


@dataclass(frozen=True, slots=True)
class Backchannel:
    """The caller says something short, such as "mm-hm", into the bot's speech.

    Attributes:
        at_s: when it began.
        end_s: when it ended.
        stopped: whether the bot fell silent because of it.
    """

    at_s: float
    end_s: float
    stopped: bool


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn of the caller's, and all that happened in it and because of it.

    Attributes:
        begin_s: when it began.
        end_s: when it ended.
        pauses: within it.
        response: None where the bot did not answer before the caller's next turn.
        interruption: where it began in the bot's speech.
        bot_backchannels: what the bot said in it of less than a second.
        bot_interruptions: how often the bot began to speak for longer while the caller spoke.
    """

    begin_s: float
    end_s: float
    pauses: tuple[Pause, ...] = ()
    response: Response | None = None
    interruption: Interruption | None = None
    bot_backchannels: int = 0
    bot_interruptions: int = 0


Event = Turn | Backchannel
