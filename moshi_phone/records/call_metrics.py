"""What is measured and observed of one call, while it runs and after it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from moshi_phone.audio.histogram import Histogram
from moshi_phone.conversation.echo import Echo
from moshi_phone.conversation.live import LiveConversation
from moshi_phone.conversation.metrics import ConversationMetrics
from moshi_phone.records.consent import Consent
from moshi_phone.records.transcript import Transcript


@dataclass
class CallMetrics:
    """A call's metrics, from its first frame until now.

    Attributes:
        frames: of the answer that have left.
        delay: of each frame, from the caller's mouth to the answer at the ear, less the network.
        playout_lead: what the other side had still to play when a frame left, of each frame.
        stages: how long each of the engine's stages took, by name.
        backlog_frames: of the caller's, unanswered now.
        most_backlog_frames: unanswered at worst.
        delay_ms: of the last frame, as in ``delay``.
        playout_lead_ms: what the other side had still to play before the last frame.
        dropped_frames: of the caller's, never answered.
        untranscribed_frames: of the caller's, answered but not listened to for words.
        unsent_messages: dropped because the phone company took no audio.
        trimmed_ms: silence taken out.
        underruns: times that the ear ran dry.
        underrun_ms: for how long the ear was dry, in all.
        deadline_misses: frames of which a stage took longer than they last.
        conversation: who spoke when, in numbers.
        echo_canceller_ms: by how much the echo canceller delays the caller; 0 while it is not switched in.
        echo: of the bot's voice, in the caller's audio; None where none was found.
        echo_removed_db: how much weaker it is behind the canceller; 0 while that is not switched in.
        echoing_calls: calls with an echo: 0 or 1, until calls are added up.
        echo_listened_s: for how long the bot was heard while an echo was looked for.
        noise_suppressor_ms: by how much the noise suppressor delays the caller; 0 without one.
    """

    frames: int = 0
    delay: Histogram = field(default_factory=Histogram)
    playout_lead: Histogram = field(default_factory=Histogram)
    stages: dict[str, Histogram] = field(default_factory=dict[str, Histogram])
    backlog_frames: int = 0
    most_backlog_frames: int = 0
    delay_ms: float = 0.0
    playout_lead_ms: float = 0.0
    dropped_frames: int = 0
    untranscribed_frames: int = 0
    unsent_messages: int = 0
    trimmed_ms: float = 0.0
    underruns: int = 0
    underrun_ms: float = 0.0
    deadline_misses: int = 0
    conversation: ConversationMetrics = field(default_factory=ConversationMetrics)
    echo_canceller_ms: float = 0.0
    echo: Echo | None = None
    echo_removed_db: float = 0.0
    echoing_calls: int = 0
    echo_listened_s: float = 0.0
    noise_suppressor_ms: float = 0.0

    def include(self, other: CallMetrics) -> None:
        """Add up with another call's, as far as metrics add up."""
        self.frames += other.frames
        self.delay.include(other.delay)
        self.playout_lead.include(other.playout_lead)
        for stage, histogram in other.stages.items():
            self.stages.setdefault(stage, Histogram()).include(histogram)
        # Not what is true of one moment only: the backlog now, the last frame's delay.
        self.dropped_frames += other.dropped_frames
        self.untranscribed_frames += other.untranscribed_frames
        self.unsent_messages += other.unsent_messages
        self.trimmed_ms += other.trimmed_ms
        self.underruns += other.underruns
        self.underrun_ms += other.underrun_ms
        self.deadline_misses += other.deadline_misses
        self.echoing_calls += other.echoing_calls
        self.conversation.include(other.conversation)

    def summary(self) -> dict[str, Any]:
        """Sum up, for JSON. Milliseconds, but where the name says otherwise."""
        return {
            "frames": self.frames,
            "delay_ms": round(self.delay_ms, 1),
            "playout_lead_ms": round(self.playout_lead_ms, 1),
            "backlog_frames": self.backlog_frames,
            "most_backlog_frames": self.most_backlog_frames,
            "dropped_frames": self.dropped_frames,
            "skipped_frames": self.untranscribed_frames,
            "unsent_messages": self.unsent_messages,
            "trimmed_ms": round(self.trimmed_ms, 1),
            "underruns": self.underruns,
            "underrun_ms": round(self.underrun_ms, 1),
            "deadline_misses": self.deadline_misses,
            "delay": self.delay.summary(),
            "playout_lead": self.playout_lead.summary(),
            "stages": {stage: histogram.summary() for stage, histogram in self.stages.items()},
            "conversation": self.conversation.summary(),
            "echo": None
            if self.echo is None
            else {
                "delay_ms": round(self.echo.delay_ms),
                "loss_db": round(self.echo.loss_db, 1),
                "removed_db": round(self.echo_removed_db, 1),
            },
            "echo_listened_s": round(self.echo_listened_s, 1),
        }


class KeptFile(Protocol):
    """A file that is kept of a call."""

    @property
    def path(self) -> Path:
        """Where it is."""

    @property
    def is_lost(self) -> bool:
        """Whether nothing of it could be written, so that there is none."""

    def discard(self) -> None:
        """Write nothing more, and delete it."""


@dataclass
class CallObservations:
    """What the taps of one call fill: read it at any time.

    Attributes:
        kept: its files, by what they are: ``recording``, ``transcript``.
        metrics: of the call.
        transcript: of what both sides said.
        conversation: judges who speaks when; None where nobody does.
        consent: what may be kept.
    """

    kept: dict[str, KeptFile] = field(default_factory=dict[str, "KeptFile"])
    metrics: CallMetrics = field(default_factory=CallMetrics)
    transcript: Transcript = field(default_factory=Transcript)
    conversation: LiveConversation | None = None
    consent: Consent = field(default_factory=Consent)
