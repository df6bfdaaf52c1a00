"""Both sides of a call on one time line, as the caller's ear has it. Pure: time comes in as an argument."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from moshi_phone.audio.far_end_clock import FarEndClock
from moshi_phone.audio.formats import PHONE_RATE_HZ


class Timeline:
    """Puts both sides of a call on one time line.

    The caller's audio is the clock: its samples follow each other without a hole, however fast or slow their
    clock is. The bot's audio is heard when it arrives, or when what was sent before it has been played,
    whichever is later: as Twilio plays it. Memory is bounded by what lies in the playout buffer.

    Args:
        rate_hz: of both sides' samples.
    """

    def __init__(self, rate_hz: int = PHONE_RATE_HZ) -> None:
        self.written_samples = 0  # what is final; all times below are counted from the call's beginning
        self._rate_hz = rate_hz
        self._far = FarEndClock()
        self._origin_s = math.inf  # their time at the call's beginning
        self._bot_end = 0  # the first sample after all audio of the bot's so far
        # What the caller has not heard yet, with the sample at which it begins.
        self._bot: list[tuple[int, NDArray[np.int16]]] = []

    def said(self, samples: NDArray[np.int16], now_s: float) -> NDArray[np.int16]:
        """Take the caller's next audio, int16 ``[n]``, and give what is final by it: int16 ``[n, 2]``."""
        self._far.answered(len(samples) / self._rate_hz, now_s)
        end = self.written_samples + len(samples)
        # The quickest packet so far shows best when the call began.
        self._origin_s = min(self._origin_s, self._far.time_s(now_s) - end / self._rate_hz)
        return self._up_to(end, samples)

    def heard(self, samples: NDArray[np.int16], now_s: float) -> None:
        """Take audio, int16 ``[n]``, that is sent to the caller now."""
        # Twilio plays in order: what was sent before is played out first.
        begin = max(self._bot_end, self._sample(now_s))
        self._bot.append((begin, samples))
        self._bot_end = begin + len(samples)

    def rest(self, now_s: float) -> NDArray[np.int16]:
        """Return what was heard until the call's end and is not written yet: int16 ``[samples, 2]``."""
        end = max(self.written_samples, min(self._sample(now_s), self._bot_end))
        return self._up_to(end, np.zeros(end - self.written_samples, np.int16))

    def _sample(self, now_s: float) -> int:
        if self._origin_s == math.inf:  # the bot speaks before the caller's first packet
            self._origin_s = self._far.time_s(now_s)
        since_s = self._far.time_s(now_s) - self._origin_s
        # Less a thousandth of a sample, which the clock's rounding could add.
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
