"""Metrics and observations of one call, during the call and after it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from moshi_phone.audio.formats import FRAME_MS
from moshi_phone.audio.histogram import Histogram
from moshi_phone.conversation.echo import Echo
from moshi_phone.conversation.live import LiveConversation
from moshi_phone.conversation.metrics import ConversationMetrics
from moshi_phone.records.consent import Consent
from moshi_phone.records.transcript import Transcript


@dataclass
class CallMetrics:
    """A call's metrics so far.

    Attributes:
        frames: number of sent frames.
        delay: of each frame, mouth to ear, without the network.
        processing: of each frame, from its end to the engine's step.
        playout_lead: unplayed audio at the other side when each frame was sent.
        stages: duration of each of the engine's stages, by name.
        backlog_frames: the caller's frames not answered yet.
        most_backlog_frames: maximum of ``backlog_frames``.
        delay_ms: delay of the last frame, as in ``delay``; 0 before the first.
        processing_ms: the same of ``processing``.
        filters_ms: delay of resamplers and of the engine's codec.
        playout_lead_ms: playout lead at the last frame.
        dropped_frames: the caller's frames that were dropped without an answer.
        untranscribed_frames: the caller's frames that were answered but not transcribed.
        unsent_messages: messages dropped because the phone company did not read.
        trimmed_ms: trimmed silence.
        underruns: number of playout underruns.
        underrun_ms: total duration of the underruns.
        deadline_misses: frames with a stage that took longer than a frame's duration.
        conversation: turn-taking metrics.
        echo_canceller_ms: delay added by the echo canceller; 0 while it is off.
        echo: echo of the bot's voice in the caller's audio, or None.
        echo_found_s: when the echo was found, in seconds of the call; 0 without one.
        echo_removed_db: attenuation of the echo by the canceller; 0 while it is off.
        echoing_calls: number of calls with an echo: 0 or 1 for a single call.
        echo_listened_s: duration of the bot's speech during the echo detection.
        noise_suppressor_ms: delay added by the noise suppressor; 0 without one.
    """

    frames: int = 0
    delay: Histogram = field(default_factory=Histogram)
    processing: Histogram = field(default_factory=Histogram)
    playout_lead: Histogram = field(default_factory=Histogram)
    stages: dict[str, Histogram] = field(default_factory=dict[str, Histogram])
    backlog_frames: int = 0
    most_backlog_frames: int = 0
    delay_ms: float = 0.0
    processing_ms: float = 0.0
    filters_ms: float = 0.0
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
    echo_found_s: float = 0.0
    echo_removed_db: float = 0.0
    echoing_calls: int = 0
    echo_listened_s: float = 0.0
    noise_suppressor_ms: float = 0.0

    @property
    def delay_parts_ms(self) -> dict[str, float]:
        """The parts of the last frame's delay, in the order in which they arise.

        The first sample of a frame waits for the last one; for the caller, an answer waits until all audio
        sent before it has been played.
        """
        cleaners_ms = self.echo_canceller_ms + self.noise_suppressor_ms
        return {
            "frame": float(FRAME_MS),
            "filters": self.filters_ms + cleaners_ms,
            "processing": self.processing_ms,
            "playout": self.playout_lead_ms,
        }

    def include(self, other: CallMetrics) -> None:
        """Add another call's metrics, except those of a single moment."""
        self.frames += other.frames
        self.delay.include(other.delay)
        self.processing.include(other.processing)
        self.playout_lead.include(other.playout_lead)
        for stage, histogram in other.stages.items():
            self.stages.setdefault(stage, Histogram()).include(histogram)
        # Metrics of a moment (current backlog, last frame's delay) have no sum.
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
        """Return the metrics for JSON, in milliseconds unless the name says otherwise."""
        return {
            "frames": self.frames,
            "delay_ms": round(self.delay_ms, 1),
            "delay_parts_ms": {part: round(ms, 1) for part, ms in self.delay_parts_ms.items()},
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
            "processing": self.processing.summary(),
            "playout_lead": self.playout_lead.summary(),
            "stages": {stage: histogram.summary() for stage, histogram in self.stages.items()},
            "conversation": self.conversation.summary(),
            "echo": None
            if self.echo is None
            else {
                "delay_ms": round(self.echo.delay_ms),
                "loss_db": round(self.echo.loss_db, 1),
                "removed_db": round(self.echo_removed_db, 1),
                "found_s": round(self.echo_found_s, 1),
            },
            "echo_listened_s": round(self.echo_listened_s, 1),
        }


class KeptFile(Protocol):
    """A file stored for a call."""

    @property
    def path(self) -> Path:
        """The file's path."""

    @property
    def is_lost(self) -> bool:
        """Whether nothing could be written, so that the file does not exist."""

    def discard(self) -> None:
        """Stop writing, and delete the file."""


@dataclass
class CallObservations:
    """Data collected by the taps of one call. May be read at any time.

    Attributes:
        kept: its files, by kind: ``recording``, ``transcript``.
        metrics: the call's metrics.
        transcript: the words of both sides.
        conversation: the live turn-taking analysis, or None.
        consent: the caller's consent to storage.
    """

    kept: dict[str, KeptFile] = field(default_factory=dict[str, "KeptFile"])
    metrics: CallMetrics = field(default_factory=CallMetrics)
    transcript: Transcript = field(default_factory=Transcript)
    conversation: LiveConversation | None = None
    consent: Consent = field(default_factory=Consent)
