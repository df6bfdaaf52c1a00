"""Both sides of a call on the time line of the caller's ear. Pure: time is an argument."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from moshi_phone.audio.far_end_clock import FarEndClock
from moshi_phone.audio.formats import PHONE_RATE_HZ

_TOLERANCE_S = 0.01
"""Audio that seems so late to the playout buffer may still be in time: arrival times have jitter."""


class Timeline:
    """Aligns both sides of a call on one time line.

    The caller's audio is the clock: its samples are contiguous at any clock skew. The bot's audio is played
    when it arrives, or when the audio sent before it has been played, whichever is later, as at Twilio. A
    delay smaller than the jitter of arrival times leaves no gap, so that the two sides do not shift against
    each other: an echo canceller needs this more than their exact distance. Memory is bounded by the audio in
    the playout buffer.

    Args:
        rate_hz: the sample rate of both sides.
    """

    def __init__(self, rate_hz: int = PHONE_RATE_HZ) -> None:
        self.written_samples = 0  # final samples; all positions count from the call's begin
        self._rate_hz = rate_hz
        self._tolerance_samples = round(_TOLERANCE_S * rate_hz)
        self._far = FarEndClock()
        self._origin_s = math.inf  # the far end's time at the call's begin
        self._bot_end = 0  # the end of the bot's audio so far
        # The bot's unplayed audio, each block with its first sample's position.
        self._bot: list[tuple[int, NDArray[np.int16]]] = []

    def said(self, samples: NDArray[np.int16], now_s: float) -> NDArray[np.int16]:
        """Add the caller's next audio, int16 ``[n]``; return what became final: int16 ``[n, 2]``."""
        self._far.answered(len(samples) / self._rate_hz, now_s)
        end = self.written_samples + len(samples)
        # The packet with the least delay gives the best estimate of the call's begin.
        self._origin_s = min(self._origin_s, self._far.time_s(now_s) - end / self._rate_hz)
        return self._up_to(end, samples)

    def heard(self, samples: NDArray[np.int16], now_s: float) -> None:
        """Add audio sent to the caller now, int16 ``[n]``."""
        # Twilio plays in order, and without a gap unless its buffer was empty.
        begin, arrives = self._bot_end, self._sample(now_s)
        if arrives > begin + self._tolerance_samples or begin < self.written_samples:
            begin = arrives
        self._bot.append((begin, samples))
        self._bot_end = begin + len(samples)

    def rest(self, now_s: float) -> NDArray[np.int16]:
        """Return the remaining audio up to the call's end: int16 ``[samples, 2]``."""
        end = max(self.written_samples, min(self._sample(now_s), self._bot_end))
        return self._up_to(end, np.zeros(end - self.written_samples, np.int16))

    def _sample(self, now_s: float) -> int:
        if self._origin_s == math.inf:  # the bot speaks before the caller's first packet
            self._origin_s = self._far.time_s(now_s)
        since_s = self._far.time_s(now_s) - self._origin_s
        # Tolerance of a thousandth of a sample for the clock's rounding.
        return max(self.written_samples, math.ceil(since_s * self._rate_hz - 1e-3))

    def _up_to(self, end: int, said: NDArray[np.int16]) -> NDArray[np.int16]:
        both = np.zeros((end - self.written_samples, 2), np.int16)
        both[:, 0] = said
        later: list[tuple[int, NDArray[np.int16]]] = []
        for begin, samples in self._bot:
            cut = max(0, min(len(samples), end - begin))
            at = begin - self.written_samples
            both[at : at + cut, 1] = samples[:cut]
            if cut < len(samples):
                later.append((begin + cut, samples[cut:]))
        self._bot = later
        self.written_samples = end
        return both
