"""One call's playout: the audio to send now, and the other side's remaining buffer. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from moshi_phone.audio.far_end_clock import FarEndClock
from moshi_phone.audio.formats import PHONE_RATE_HZ
from moshi_phone.audio.playout_clock import PlayoutClock
from moshi_phone.audio.silence_trimmer import DEFAULT_LEAD_MS, SilenceTrimmer

_MARK_EVERY_S = 1.0
_FIRST_MARKS = 12  # one a frame: the first second gives the minimum of the round trip
_DRIFT_CHANGE = (
    0.0005  # half a millisecond a second; a state measured with such a clock error is wrong by seconds
)


class PlayoutControl:
    """Trims the audio to send, keeps an account of it, and schedules marks that verify the account.

    Times are this machine's, in seconds.

    Args:
        target_ms: maximum lead that is not trimmed.

    Attributes:
        lead_ms: remaining buffer just before the last audio was sent.
    """

    def __init__(self, target_ms: float = DEFAULT_LEAD_MS) -> None:
        self.lead_ms = 0.0
        self.clock = PlayoutClock()
        self.trimmer = SilenceTrimmer(target_ms)
        self._far = FarEndClock()
        self._drift = 0.0  # the drift used by the account
        self._next_mark_s = 0.0  # by our clock
        self._marks_sent = 0

    def send(
        self, samples: NDArray[np.int16], now_s: float, *, rate_hz: int = PHONE_RATE_HZ, channels: int = 1
    ) -> NDArray[np.int16]:
        """Return the part of a block to send now, possibly nothing, and record it.

        Args:
            samples: int16 ``[n]``, one block for each of the caller's blocks, of the same length.
            now_s: the time.
            rate_hz: of the block.
            channels: of the block, interleaved.
        """
        samples_a_second = rate_hz * channels
        self._far.answered(samples.size / samples_a_second, now_s)
        if abs(self._far.drift - self._drift) > _DRIFT_CHANGE:
            self._drift = self._far.drift
            self.clock.restart()
        # The account uses the other side's time: only there, played and sent audio have the same rate.
        far_s = self._far.time_s(now_s)
        lead_ms = self.clock.lead_ms(far_s)
        left = self.trimmer.trim(samples, lead_ms, self.clock.jitter_ms, rate_hz=rate_hz, channels=channels)
        if left.size < samples.size:
            self.clock.trimmed((samples.size - left.size) / samples_a_second)
        if left.size:
            self.lead_ms = lead_ms
            self.clock.sent(left.size / samples_a_second, far_s)
        return left

    def mark_if_due(self, now_s: float) -> str | None:
        """Return the name of a mark to send now, behind all audio so far; None if none is due."""
        if now_s < self._next_mark_s:
            return None
        self._marks_sent += 1
        if self._marks_sent > _FIRST_MARKS:
            self._next_mark_s = now_s + _MARK_EVERY_S
        mark = f"played-{self._marks_sent}"
        self.clock.marked(mark, self._far.time_s(now_s))
        return mark

    def echoed(self, mark: str, now_s: float) -> None:
        """Process the acknowledgement of a mark."""
        self.clock.echoed(mark, self._far.time_s(now_s))

    def cleared(self, now_s: float) -> None:
        """Record that the other side was requested to discard its buffer."""
        self.clock.cleared(self._far.time_s(now_s))

    def restart(self) -> None:
        """Continue with another stream, which has an empty buffer and its own marks."""
        self.clock.restart()
        self._next_mark_s = 0.0
