"""Inference of the other side's playback from acknowledged marks. Pure: time is an argument."""

from __future__ import annotations

import math
from collections import deque

_WINDOW_ECHOES = 10  # the earliest of this number counts as free of jitter
_NOISES_KEPT = 30
# a stall of the return path delays some acknowledgements by seconds; that is not jitter
_NOISE_QUANTILE = 0.9
_MAX_JITTER_S = 0.1  # upper bound of the estimate: twice of it is lead that is not trimmed
_TRIAL_ECHOES = 60  # a minute, at a mark a second
_TRIAL_MARGIN_S = 0.015


class MarkAckWindow:
    """Estimates the start of the other side's playback, despite the jitter of the return path.

    An acknowledgement at time t of a mark behind p seconds of audio means that this audio would have been
    played without a break from t - p on, less the time of the acknowledgement's return. Jitter only makes
    that later, so the earliest of several in a row is closest to the truth. It does not depend on trimming or
    earlier estimates, so no correction can cause the next one.

    Attributes:
        jitter_s: jitter of the return path: the delay of acknowledgements after the earliest successor.
    """

    def __init__(self) -> None:
        self.jitter_s = 0.0
        self._began_s: deque[float] = deque(
            maxlen=_WINDOW_ECHOES
        )  # one for each of the last acknowledgements
        # Delay of each, compared with its successors.
        self._noises_s: deque[float] = deque(maxlen=_NOISES_KEPT)

    def add(self, began_s: float) -> float | None:
        """Add an acknowledgement's estimate of the start; return the earliest of ten, None before ten."""
        self._began_s.append(began_s)
        if len(self._began_s) < _WINDOW_ECHOES:
            return None
        earliest_s = min(self._began_s)
        # Compared with its successors: a step upwards is a gap at the ear, not jitter.
        self._noises_s.append(self._began_s[0] - earliest_s)
        noise_s = sorted(self._noises_s)[int(_NOISE_QUANTILE * (len(self._noises_s) - 1))]
        self.jitter_s = min(_MAX_JITTER_S, noise_s)
        return earliest_s


class RoundTrip:
    """The round-trip time without any buffer: the minimum delay of acknowledgements.

    The path can become longer during a call, which looks like audio waiting in a buffer. The difference:
    waiting audio can be trimmed away. If more than twice of the assumed buffer is trimmed within a minute
    without any earlier acknowledgement, the path has become longer.

    Attributes:
        least_s: in seconds; infinite before the first acknowledgement.
    """

    def __init__(self) -> None:
        self.least_s = math.inf
        self._echoes = 0  # of this trial
        self._trimmed_s = self._most_hidden_s = 0.0  # likewise
        self._earliest_s = math.inf  # likewise: minimum delay of its acknowledgements

    def add(self, late_s: float, hidden_s: float, jitter_s: float) -> None:
        """Add an acknowledgement.

        Args:
            late_s: delay after the earliest time at which the audio can have been played, by the account.
            hidden_s: audio assumed to wait beyond the account.
            jitter_s: jitter of acknowledgements.
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
        """Record that this much audio was not sent."""
        self._trimmed_s += audio_s

    def _begin_trial(self) -> None:
        self._echoes = 0
        self._trimmed_s = self._most_hidden_s = 0.0
        self._earliest_s = math.inf
