"""The record of one rehearsed call: sent audio, played audio, and events with their times."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from moshi_phone.audio import g711, pcm
from moshi_phone.audio.formats import PHONE_RATE_HZ
from moshi_phone.rehearse.playback import Playback

PACKET_SAMPLES = PHONE_RATE_HZ * 20 // 1000  # 160: Twilio's packets
PACKETS_A_FRAME = 4


@dataclass(frozen=True, slots=True)
class StatusSample:
    """The server's metrics of the running call at one time.

    Attributes:
        at_s: time on the caller's clock.
        backlog_frames: the caller's frames not answered yet.
        lead_ms: the server's estimate of sent, unplayed audio.
        dropped_frames: the caller's frames dropped since the start.
        trimmed_ms: silence trimmed from the bot's speech since the start.
        filters_ms: delay of the line's filters, as the server reports it.
    """

    at_s: float
    backlog_frames: int
    lead_ms: float
    dropped_frames: int
    trimmed_ms: float
    filters_ms: float = 0.0

    @property
    def lost_samples(self) -> int:
        """Audio that the server did not send, in samples at 8 kHz."""
        return self.dropped_frames * PACKETS_A_FRAME * PACKET_SAMPLES + round(self.trimmed_ms * 8)


@dataclass
class CallRecord:
    """One call from the caller's side. Times are seconds on the caller's clock.

    Attributes:
        said: the caller's audio, µ-law; sample i is spoken i / 8000 s after ``began_s``.
        began_s: time of the ``start`` message.
        left_s: sending time of each 20 ms packet; due after its last sample.
        ear: the audio played to the caller.
        hung_up_s: time of ``stop``, or of the connection's loss.
        refused: why the server refused the stream, or None.
        broken: how the connection broke before the caller hung up, or None.
        closed_after_s: time from ``stop`` to the server's close; None if it did not close.
        close_code: the WebSocket's close code (RFC 6455), or None.
        violations: the first few messages that Twilio would reject.
        violation_count: number of such messages.
        status_samples: the server's metrics during the call, in order.
    """

    said: bytes | bytearray
    began_s: float
    ear: Playback
    left_s: list[float] = field(default_factory=list[float])
    hung_up_s: float = 0.0
    refused: str | None = None
    broken: str | None = None
    closed_after_s: float | None = None
    close_code: int | None = None
    violations: list[str] = field(default_factory=list[str])
    violation_count: int = 0
    status_samples: list[StatusSample] = field(default_factory=list[StatusSample])

    @property
    def secs(self) -> float:
        """Duration from ``start`` to ``stop``."""
        return self.hung_up_s - self.began_s

    @property
    def said_pcm(self) -> NDArray[np.float32]:
        """The sent audio until the call's end: float32 ``[n]``, 8 kHz."""
        return pcm.to_float(g711.decode(bytes(self.said[: len(self.left_s) * PACKET_SAMPLES])))

    @property
    def heard_pcm(self) -> NDArray[np.float32]:
        """The played audio until the call's end, on the same time line: float32 ``[n]``, 8 kHz."""
        return pcm.to_float(g711.decode(self.ear.heard(self.hung_up_s).tobytes()))

    @property
    def frame_ends_s(self) -> NDArray[np.float64]:
        """Sending times of the caller's whole frames (80 ms): float64 ``[frames]``."""
        return np.array(self.left_s[PACKETS_A_FRAME - 1 :: PACKETS_A_FRAME])
