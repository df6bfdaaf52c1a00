"""What one rehearsed call leaves behind to be measured: what was said when, and what the ear got."""

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
    """What the server said of the call while it ran.

    Attributes:
        at_s: when, on the caller's clock.
        backlog_frames: of the caller's frames, not answered yet.
        lead_ms: audio that it believes to be sent and not played.
        dropped_frames: of the caller's frames since the start, never answered.
        trimmed_ms: silence taken out of its own speech since the start.
    """

    at_s: float
    backlog_frames: int
    lead_ms: float
    dropped_frames: int
    trimmed_ms: float

    @property
    def lost_samples(self) -> int:
        """Answer that never was sent, in samples at 8 kHz."""
        return self.dropped_frames * PACKETS_A_FRAME * PACKET_SAMPLES + round(self.trimmed_ms * 8)


@dataclass
class CallRecord:
    """One call, as its caller lived it. Times are seconds on the caller's clock.

    Attributes:
        said: µ-law, what the caller said; sample i is spoken i / 8000 s after ``began_s``.
        began_s: when the ``start`` message left.
        left_s: when each 20 ms packet left; due when its last sample was spoken.
        ear: what was played to the caller.
        hung_up_s: when ``stop`` left, or the line broke.
        refused: why the stream was not let in, or None.
        broken: how the line broke before the caller hung up, or None.
        closed_after_s: how long after ``stop`` the server closed the socket; None if it did not.
        close_code: the socket's closing code (RFC 6455), where there was one.
        violations: what Twilio would not have accepted, the first few.
        violation_count: how many there were.
        told: what the server said of the call, in order.
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
    told: list[StatusSample] = field(default_factory=list[StatusSample])

    @property
    def secs(self) -> float:
        """From ``start`` to ``stop``."""
        return self.hung_up_s - self.began_s

    @property
    def said_pcm(self) -> NDArray[np.float32]:
        """What was said until the call's end: float32 ``[n]``, 8 kHz."""
        return pcm.to_float(g711.decode(bytes(self.said[: len(self.left_s) * PACKET_SAMPLES])))

    @property
    def heard_pcm(self) -> NDArray[np.float32]:
        """What was heard until the call's end, on the same time line: float32 ``[n]``, 8 kHz."""
        return pcm.to_float(g711.decode(self.ear.heard(self.hung_up_s).tobytes()))

    @property
    def frame_ends_s(self) -> NDArray[np.float64]:
        """When each whole frame (80 ms) of the caller had left: float64 ``[frames]``."""
        return np.array(self.left_s[PACKETS_A_FRAME - 1 :: PACKETS_A_FRAME])
