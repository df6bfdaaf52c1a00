"""Turn-taking metrics of one call or of all calls. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from moshi_phone.audio.histogram import Histogram
from moshi_phone.conversation.events import Backchannel, Event


@dataclass
class ConversationMetrics:
    """Turn-taking metrics.

    Attributes:
        response: from the end of each turn of the caller to the bot's next start; an earlier start counts
            as 0.
        stop: from the start of each interruption to the end of the bot's speech.
        turns: number of the caller's turns.
        unanswered_turns: turns without an answer before the next one.
        interruptions: turns that began while the bot spoke.
        takeovers_in_pauses: pauses within a turn in which the bot took it.
        backchannel_stops: backchannels such as "mm-hm" that stopped the bot.
        longest_silence_s: the longest time without speech.
        mutes: times that the bot left the caller without an answer for ``--mute-secs``.
        repetitions: times that the bot began to repeat the same words.
    """

    response: Histogram = field(default_factory=Histogram)
    stop: Histogram = field(default_factory=Histogram)
    turns: int = 0
    unanswered_turns: int = 0
    interruptions: int = 0
    takeovers_in_pauses: int = 0
    backchannel_stops: int = 0
    longest_silence_s: float = 0.0
    mutes: int = 0
    repetitions: int = 0

    def add(self, events: Iterable[Event]) -> None:
        """Count events."""
        for event in events:
            if isinstance(event, Backchannel):
                self.backchannel_stops += event.stopped
                continue
            self.turns += 1
            self.takeovers_in_pauses += sum(pause.taken for pause in event.pauses)
            if event.response is None:
                self.unanswered_turns += 1
            else:
                self.response.add(event.response.gap_ms)
            if event.interruption is not None:
                self.interruptions += 1
                if event.interruption.stop_ms is not None:
                    self.stop.add(event.interruption.stop_ms)

    def include(self, other: ConversationMetrics) -> None:
        """Add another call's metrics."""
        self.response.include(other.response)
        self.stop.include(other.stop)
        self.turns += other.turns
        self.unanswered_turns += other.unanswered_turns
        self.interruptions += other.interruptions
        self.takeovers_in_pauses += other.takeovers_in_pauses
        self.backchannel_stops += other.backchannel_stops
        self.longest_silence_s = max(self.longest_silence_s, other.longest_silence_s)
        self.mutes += other.mutes
        self.repetitions += other.repetitions

    def summary(self) -> dict[str, Any]:
        """Return the metrics for JSON."""
        return {
            "response": self.response.summary(),
            "stop": self.stop.summary(),
            "turns": self.turns,
            "unanswered_turns": self.unanswered_turns,
            "interruptions": self.interruptions,
            "takeovers_in_pauses": self.takeovers_in_pauses,
            "backchannel_stops": self.backchannel_stops,
            "longest_silence_s": round(self.longest_silence_s, 1),
            "mutes": self.mutes,
            "repetitions": self.repetitions,
        }

    @property
    def sentence(self) -> str:
        """The metrics in words; empty without a turn."""
        parts = list[str]()
        if self.response.count:
            median_s = self.response.quantile_ms(0.5) / 1000
            parts.append(f"answered after {median_s:.2f} s (median of {self.response.count})")
        if self.interruptions:
            plural = "s" if self.interruptions > 1 else ""
            after = (
                f"stopped after {self.stop.quantile_ms(0.5) / 1000:.1f} s"
                if self.stop.count
                else "did not stop"
            )
            parts.append(f"{after} ({self.interruptions} interruption{plural})")
        if self.turns:
            parts.append(f"longest silence {self.longest_silence_s:.1f} s")
        return ", ".join(parts)
