"""An estimate of the other side's clock, from its audio. Pure: time is an argument."""

from __future__ import annotations

import math
from collections import deque
from statistics import median

_WINDOW_S = 2.0
_SLOPE_WINDOWS = 4  # a slope is taken over 8 s: half a millisecond of noise is 0.006 % then
_SLOPES_KEPT = 24  # of 48 s in all, most of which a stall does not affect
_SLOPES_TO_BELIEVE = 3
_STEP_S = 0.005  # a change by more than this from window to window is an event (a stall, a loss), not a clock
_WINDOWS_TO_MOVE = 3  # an event that lasts this long has moved the line
_PHASE_GAIN = 0.3  # slowly: one late window must not move the time by its whole delay
_MAX_DRIFT = 0.01  # 1 %: far beyond any real clock; more has another cause


class FarEndClock:
    """Estimates the other side's time, from one audio frame of ours for each of theirs.

    The other side sends its audio, and plays ours, by its own clock, which is slightly fast or slow. The
    caller's audio is the clock: each answered frame is a unit of their time, delayed by the network and the
    engine, never early. So the earliest frames of the windows lie on a line, whose slope is the drift. The
    median of many slopes ignores stalls and losses, which move the line once. The remaining error is
    corrected slowly, so that it does not accumulate in long calls.

    Attributes:
        drift: seconds that their clock loses in a second of ours; negative if it is fast; 0 while unknown.
    """

    def __init__(self) -> None:
        self.drift = 0.0
        self._correction_s = 0.0  # at the time below
        self._corrected_at_s = 0.0
        self._answered_s = 0.0  # of their audio, in all: their time
        self._window_ends_s = _WINDOW_S  # in their time
        self._earliest_s = math.inf  # of this window: by our clock, and by theirs
        self._earliest_far_s = math.inf
        # End and earliest frame of the last windows: a slope needs two points.
        self._windows: deque[tuple[float, float]] = deque(maxlen=_SLOPE_WINDOWS)
        self._slopes: deque[float] = deque(maxlen=_SLOPES_KEPT)  # their median is the drift
        self._line_s = math.inf  # the expected offset of a window's earliest frame; set by the first windows
        # In a row; initially at its limit, so that the first window sets the line.
        self._windows_off_line = _WINDOWS_TO_MOVE

    def time_s(self, now_s: float) -> float:
        """Return their time at a time of ours, in seconds; both are assumed to start together."""
        return now_s - self._correction_s - self.drift * (now_s - self._corrected_at_s)

    def answered(self, audio_s: float, now_s: float) -> None:
        """Record that this much of their audio was answered now, with as much of ours, before any trimming.

        Args:
            audio_s: length of the audio.
            now_s: our time.
        """
        self._answered_s += audio_s
        self._earliest_s = min(self._earliest_s, now_s - self._answered_s)
        self._earliest_far_s = min(self._earliest_far_s, self.time_s(now_s) - self._answered_s)
        if self._answered_s >= self._window_ends_s:
            self._close_window(now_s)

    def _close_window(self, now_s: float) -> None:
        self._correction_s += self.drift * (now_s - self._corrected_at_s)
        self._corrected_at_s = now_s
        if self._windows:
            answered_s, earliest_s = self._windows[0]
            self._slopes.append((self._earliest_s - earliest_s) / (self._answered_s - answered_s))
        self._windows.append((self._answered_s, self._earliest_s))
        slope = median(self._slopes) if len(self._slopes) >= _SLOPES_TO_BELIEVE else 0.0
        if abs(slope) <= _MAX_DRIFT:
            self.drift = slope
        self._follow_line(self._earliest_far_s)
        self._earliest_s = self._earliest_far_s = math.inf
        self._window_ends_s = self._answered_s + _WINDOW_S

    def _follow_line(self, earliest_far_s: float) -> None:
        off_s = earliest_far_s - self._line_s
        if abs(off_s) <= _STEP_S:
            self._correction_s += _PHASE_GAIN * off_s
            self._windows_off_line = 0
        elif self._windows_off_line < _WINDOWS_TO_MOVE:
            self._windows_off_line += 1
        else:
            self._line_s = earliest_far_s
