"""Events of a conversation. Times are seconds since the start of the call."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Response:
    """The bot's answer to a turn of the caller.

    Attributes:
        at_s: end of the caller's turn.
        gap_ms: from there to the bot's next start; negative if the bot began earlier.
    """

    at_s: float
    gap_ms: float


@dataclass(frozen=True, slots=True)
class Interruption:
    """A turn of the caller that begins while the bot speaks.

    Attributes:
        at_s: begin of the turn.
        stop_ms: from there to the end of the bot's utterance; None if the call ended first.
        yielded: whether the bot stopped while the caller was speaking.
    """

    at_s: float
    stop_ms: float | None
    yielded: bool


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause within a turn of the caller.

    Attributes:
        at_s: its begin.
        secs: its duration.
        taken: whether the bot took the turn by speaking in the pause for longer than a backchannel.
    """

    at_s: float
    secs: float
    taken: bool


@dataclass(frozen=True, slots=True)
class Backchannel:
    """A short utterance of the caller, such as "mm-hm", during the bot's speech.

    Attributes:
        at_s: its begin.
        end_s: its end.
        stopped: whether the bot stopped speaking because of it.
    """

    at_s: float
    end_s: float
    stopped: bool


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn of the caller, with its pauses and the bot's reactions.

    Attributes:
        begin_s: its begin.
        end_s: its end.
        pauses: the pauses within it.
        response: the bot's answer; None if there was none before the caller's next turn.
        interruption: set if the turn began during the bot's speech.
        bot_backchannels: number of the bot's utterances in it of less than a second.
        bot_interruptions: number of longer utterances that the bot began while the caller spoke.
    """

    begin_s: float
    end_s: float
    pauses: tuple[Pause, ...] = ()
    response: Response | None = None
    interruption: Interruption | None = None
    bot_backchannels: int = 0
    bot_interruptions: int = 0


Event = Turn | Backchannel
