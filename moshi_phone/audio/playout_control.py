"""One call's playout: what of the audio is sent now, and what the other side has still to play. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from moshi_phone.audio.far_end_clock import FarEndClock
from moshi_phone.audio.formats import PHONE_RATE_HZ
from moshi_phone.audio.playout_clock import PlayoutClock
from moshi_phone.audio.silence_trimmer import DEFAULT_LEAD_MS, SilenceTrimmer

_MARK_EVERY_S = 1.0
_FIRST_MARKS = 12  # one a frame: what the first second shows of the round trip is the least
_DRIFT_CHANGE = 0.0005  # half a millisecond a second; what was learned by such a clock is wrong by seconds


class PlayoutControl:
    """Trims what is sent, keeps account of it, and says when to send a mark that checks the account.

    Times are this machine's, in seconds.

    Args:
        target_ms: the longest lead that is left alone.

    Attributes:
        lead_ms: what was left to play just before the last audio that was sent.
    """

    def __init__(self, target_ms: float = DEFAULT_LEAD_MS) -> None:
        self.lead_ms = 0.0
        self.clock = PlayoutClock()
        self.trimmer = SilenceTrimmer(target_ms)
        self._far = FarEndClock()
        self._drift = 0.0  # with which the account was begun
        self._next_mark_s = 0.0  # by our clock
        self._marks_sent = 0

    def send(
        self, samples: NDArray[np.int16], now_s: float, *, rate_hz: int = PHONE_RATE_HZ, channels: int = 1
    ) -> NDArray[np.int16]:
        """Give back what of a block should be sent now, which may be nothing, and account for it.

        Args:
            samples: int16 ``[n]``, one block for each block of the caller's of the same length.
            now_s: the time.
            rate_hz: of the block.
            channels: of the block, interleaved.
        """
        samples_a_second = rate_hz * channels
        self._far.answered(samples.size / samples_a_second, now_s)
        if abs(self._far.drift - self._drift) > _DRIFT_CHANGE:
            self._drift = self._far.drift
            self.clock.restart()
        # The account is kept in the other side's time: only there do played and sent audio run at one rate.
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
        """Give the name of a mark that should be sent now, behind all audio so far; None if none is due."""
        if now_s < self._next_mark_s:
            return None
        self._marks_sent += 1
        if self._marks_sent > _FIRST_MARKS:
            self._next_mark_s = now_s + _MARK_EVERY_S
        mark = f"played-{self._marks_sent}"
        self.clock.marked(mark, self._far.time_s(now_s))
        return mark

    def echoed(self, mark: str, now_s: float) -> None:
        """Learn from the echo of a mark."""
        self.clock.echoed(mark, self._far.time_s(now_s))

    def cleared(self, now_s: float) -> None:
        """Take note that the other side was told to throw away what it has not played."""
        self.clock.cleared(self._far.time_s(now_s))

    def restart(self) -> None:
        """Go on with another stream: its buffer is empty, and its marks are its own."""
        self.clock.restart()
        self._next_mark_s = 0.0
