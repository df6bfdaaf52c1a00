"""What the echoes of marks say of the other side's playing. Pure: time comes in as an argument."""

from __future__ import annotations

import math
from collections import deque

_WINDOW_ECHOES = 10  # the earliest of so many is taken for one that jitter spared
_NOISES_KEPT = 30
_NOISE_QUANTILE = 0.9  # a stall of the way back delays some echoes by seconds; they are not its jitter
_LARGEST_JITTER_S = 0.1  # as much is believed at most: twice of it is lead that is left alone
_TRIAL_ECHOES = 60  # a minute, at a mark a second
_TRIAL_MARGIN_S = 0.015


class MarkAckWindow:
    """When the other side's playing began, as seen through the jitter of the way back.

    An echo that comes at time t for a mark behind p seconds of audio says that this audio would have been
    played without a break if playing had begun at t - p, or earlier by the way of the echo. Jitter only
    ever makes that later, so the earliest of some echoes in a row is nearest to the truth. What was trimmed
    or believed since changes nothing of it: no correction can prove the next.

    Attributes:
        jitter_s: of the way back, from how far echoes come after the earliest that follows them.
    """

    def __init__(self) -> None:
        self.jitter_s = 0.0
        self._began_s: deque[float] = deque(maxlen=_WINDOW_ECHOES)  # one for each of the last echoes
        # How late each was, compared with those that followed it.
        self._noises_s: deque[float] = deque(maxlen=_NOISES_KEPT)

    def add(self, began_s: float) -> float | None:
        """Take what an echo says of the beginning, and give the earliest of the last ten; None before ten."""
        self._began_s.append(began_s)
        if len(self._began_s) < _WINDOW_ECHOES:
            return None
        earliest_s = min(self._began_s)
        # The oldest against those that follow it: a step upwards, which is a gap at the ear, is not noise.
        self._noises_s.append(self._began_s[0] - earliest_s)
        noise_s = sorted(self._noises_s)[int(_NOISE_QUANTILE * (len(self._noises_s) - 1))]
        self.jitter_s = min(_LARGEST_JITTER_S, noise_s)
        return earliest_s


class RoundTrip:
    """How long the way there and back takes without any buffer: the least that an echo was late.

    The way can become longer in a call, and nothing tells that from audio that waits in a buffer, but for
    one thing: audio that waits can be trimmed away. Where more than twice of what seemed to wait was
    trimmed within a minute, and not one echo came the earlier for it, it is the way.

    Attributes:
        least_s: seconds; infinite before the first echo.
    """

    def __init__(self) -> None:
        self.least_s = math.inf
        self._echoes = 0  # of this trial
        self._trimmed_s = self._most_hidden_s = 0.0  # likewise
        self._earliest_s = math.inf  # likewise: the least that an echo of it was late

    def add(self, late_s: float, hidden_s: float, jitter_s: float) -> None:
        """Take an echo.

        Args:
            late_s: how long after the time at which the account has its audio played, at the earliest.
            hidden_s: how much audio is believed to wait beyond the account.
            jitter_s: of the echoes.
        """
        self.least_s = min(self.least_s, late_s)
        self._earliest_s = min(self._earliest_s, late_s)
        self._most_hidden_s = max(self._most_hidden_s, hidden_s)
        self._echoes += 1
        if self._echoes >= _TRIAL_ECHOES:
            never_came_s = self._earliest_s - self.least_s
            if self._trimmed_s > 2 * self._most_hidden_s and never_came_s > _TRIAL_MARGIN_S + 1.5 * jitter_s:
                self.least_s = self._earliest_s
            self._begin_trial()

    def trimmed(self, audio_s: float) -> None:
        """Take note that so much audio was not sent."""
        self._trimmed_s += audio_s

    def _begin_trial(self) -> None:
        self._echoes = 0
        self._trimmed_s = self._most_hidden_s = 0.0
        self._earliest_s = math.inf
