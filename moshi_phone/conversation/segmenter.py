"""One voice as segments of speech: found by Silero's detector, their edges set by the level of the sound.

The detector says what is speech; but it notices an onset some 30 ms late and holds on to a voice for up to
130 ms. So the edges are looked for around its own, where the level leaves the background or returns to it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator

import numpy as np
from numpy.typing import NDArray

from moshi_phone.audio.formats import PHONE_RATE_HZ
from moshi_phone.audio.silence import SILENCE_RMS
from moshi_phone.conversation.silero import (
    WINDOW_SAMPLES,
    Judging,
    NetworkState,
    Window,
    judge_together,
)
from moshi_phone.conversation.span import Span

SLICE_SAMPLES = 64  # 8 ms: the resolution of the edges
_SLICES = WINDOW_SAMPLES // SLICE_SAMPLES
SLICE_S = SLICE_SAMPLES / PHONE_RATE_HZ
WINDOW_S = WINDOW_SAMPLES / PHONE_RATE_HZ

_SPEECH, _STILL_SPEECH = 0.5, 0.35  # Silero's own thresholds: to begin, and to go on
_QUIET_WINDOWS = 3  # 96 ms: so long without speech ends a segment
_SHORTEST_S = 0.064  # a click is no speech

# Edges.
_ABOVE_BACKGROUND_DB = 4.0  # five times what 8 ms of steady noise vary
_LOWEST_DB = -52.0  # full scale is 0: whatever is softer is no voice on a phone
_BELOW_PEAK_DB = 30.0  # the end of a voice: what is softer than this is its reverberation
_ONSET_SLICES = 24  # 190 ms before the detector's own: so far may an onset be
_OFFSET_BEFORE_SLICES, _OFFSET_AFTER_SLICES = 44, 20  # 350 ms (in noise it holds on the longest) and 160 ms
_HOLE_SLICES = 9  # silences of 72 ms are inside a sound: a stop and its release

# The network runs only while there is sound: it takes most of the time, and after long silence or noise it
# would overlook the beginning of speech, so it starts on each sound as if it had heard nothing before.
_SOUND_ABOVE_BACKGROUND_DB = 3.0
_SOUND_DB = -62.0
_SILENCE_DB = 20 * math.log10(SILENCE_RMS)
_SOUND_WINDOWS = 16  # 0.5 s after the last sound
_REPLAYED_WINDOWS = 3
_BACKGROUND_WINDOWS = 250  # the background is the softest window of the last 8 s
_LOWEST_BACKGROUND_DB = -75.0

# In music or a crowd's noise there is always sound; pipecat's analyzer resets the network there.
_RESET_WINDOWS = 63  # 2 s
_RESET_QUIET_WINDOWS = 5
_RESET_BELOW = 0.1

_KEPT_SLICES = 128  # 1 s of levels


class SpeechSegmenter:
    """Finds the segments of speech in one voice, block by block, in memory that does not grow but by them.

    The result does not depend on how the stream is cut into blocks.

    Attributes:
        segments: that are over, in order.
        open_since_s: when the segment began that is not over; None while there is none.
        sound_until_s: when anything was last heard that is not silence, speech or not; 0 while nothing was.
    """

    def __init__(self) -> None:
        self.segments: list[Span] = []
        self.open_since_s: float | None = None
        self.sound_until_s = 0.0
        self._network = NetworkState()
        self._rest = np.zeros(0, np.int16)
        self._windows = 0
        # Levels in dB: of the last slices, the first of which is ``_first_slice``, and of the last windows.
        self._levels: list[float] = []
        self._first_slice = 0
        self._background: deque[float] = deque(maxlen=_BACKGROUND_WINDOWS)
        # The network's gate: for how many windows it still runs, and what came before it ran.
        self._gate_windows = 0
        self._before: deque[NDArray[np.float32]] = deque(maxlen=_REPLAYED_WINDOWS)
        self._since_reset = 0
        self._low_windows = 0
        # The open segment: its last slice by the detector, windows without speech since, its loudest slice.
        self._last_slice = 0
        self._quiet_windows = 0
        self._peak_db = -np.inf

    @property
    def heard_s(self) -> float:
        """How much of the voice was judged, in seconds."""
        return self._windows * WINDOW_S

    @property
    def spans(self) -> list[Span]:
        """All segments, the open one as far as it has come."""
        if self.open_since_s is None:
            return self.segments
        return [*self.segments, Span(self.open_since_s, max(self.open_since_s, self._last_slice * SLICE_S))]

    def feed(self, samples: NDArray[np.int16]) -> None:
        """Take the next audio: int16 ``[n]``, 8 kHz mono."""
        for error in filter(None, judge_together([self.judging(samples)])):
            raise error

    def judging(self, samples: NDArray[np.int16]) -> Judging:
        """Take the next audio, likewise; whoever goes through it answers with probabilities of speech."""
        waiting = np.concatenate((self._rest, samples)) if self._rest.size else samples
        whole = waiting.size // WINDOW_SAMPLES * WINDOW_SAMPLES
        self._rest = waiting[whole:].copy()
        if not whole:
            return
        windows = waiting[:whole].astype(np.float32).reshape(-1, WINDOW_SAMPLES) / 32768
        powers = np.square(windows).reshape(len(windows), _SLICES, SLICE_SAMPLES).mean(axis=2)
        slices_db = 10 * np.log10(powers + 1e-12)
        windows_db = 10 * np.log10(powers.mean(axis=1) + 1e-12)
        for window, levels, level_db in zip(windows, slices_db.tolist(), windows_db.tolist(), strict=True):
            self._levels += levels
            self._background.append(max(level_db, _LOWEST_BACKGROUND_DB))
            self._judge((yield from self._probability(window, level_db)))
            self._windows += 1
            if level_db > _SILENCE_DB:
                self.sound_until_s = self.heard_s
        if len(self._levels) > 2 * _KEPT_SLICES:
            forgotten = len(self._levels) - _KEPT_SLICES
            del self._levels[:forgotten]
            self._first_slice += forgotten

    def finish(self) -> None:
        """End the open segment: the call is over."""
        if self.open_since_s is not None:
            self._close()

    def _probability(self, window: NDArray[np.float32], level_db: float) -> Generator[Window, float, float]:
        """Ask the network, where there is anything to ask about."""
        is_sound = level_db > max(min(self._background) + _SOUND_ABOVE_BACKGROUND_DB, _SOUND_DB)
        was_running = self._gate_windows > 0
        self._gate_windows = _SOUND_WINDOWS if is_sound else max(0, self._gate_windows - 1)
        if not is_sound and not was_running:
            self._before.append(window)
            return 0.0
        if not was_running or self._is_reset_due():
            self._network.reset()
            self._since_reset = self._low_windows = 0
            for earlier in self._before:
                yield self._network, earlier
        self._before.append(window)
        probability = yield self._network, window
        self._since_reset += 1
        self._low_windows = self._low_windows + 1 if probability < _RESET_BELOW else 0
        return probability

    def _is_reset_due(self) -> bool:
        return (
            self.open_since_s is None
            and self._since_reset >= _RESET_WINDOWS
            and self._low_windows >= _RESET_QUIET_WINDOWS
        )

    def _judge(self, probability: float) -> None:
        first = self._windows * _SLICES
        if self.open_since_s is None:
            if probability >= _SPEECH:
                self.open_since_s = self._onset(first) * SLICE_S
                self._last_slice, self._quiet_windows = first + _SLICES, 0
                self._peak_db = max(self._levels[-_SLICES:])
            return
        self._peak_db = max(self._peak_db, *self._levels[-_SLICES:])
        if probability >= _STILL_SPEECH:
            self._last_slice, self._quiet_windows = first + _SLICES, 0
            return
        self._quiet_windows += 1
        if self._quiet_windows >= _QUIET_WINDOWS:
            self._close()

    def _close(self) -> None:
        assert self.open_since_s is not None  # noqa: S101 - the callers looked
        segment = Span(self.open_since_s, self._offset(self._last_slice) * SLICE_S)
        self.open_since_s = None
        if segment.secs >= _SHORTEST_S:
            self.segments.append(segment)

    def _edge_db(self) -> float:
        return max(min(self._background) + 1.0 + _ABOVE_BACKGROUND_DB, _LOWEST_DB)

    def _onset(self, detected: int) -> int:
        """Return the first slice of the sound in which the detector noticed speech."""
        edge_db = self._edge_db()
        before = round(self.segments[-1].end_s / SLICE_S) if self.segments else 0
        first, silent = detected, 0
        for at in range(
            detected + _SLICES - 1, max(detected - _ONSET_SLICES, before, self._first_slice) - 1, -1
        ):
            if self._levels[at - self._first_slice] > edge_db:
                first, silent = at, 0
            elif at < detected:
                silent += 1
                if silent > _HOLE_SLICES:
                    break
        return first

    def _offset(self, detected: int) -> int:
        """Return the slice after the last one of the sound in which the detector last noticed speech."""
        edge_db = max(self._edge_db(), self._peak_db - _BELOW_PEAK_DB)
        begin = round((self.open_since_s or 0.0) / SLICE_S)
        end = self._first_slice + len(self._levels)
        # Sound that goes on without a hole: a last soft consonant.
        last, silent = detected, 0
        for at in range(detected, min(detected + _OFFSET_AFTER_SLICES, end)):
            if self._levels[at - self._first_slice] > edge_db:
                last, silent = at + 1, 0
            else:
                silent += 1
                if silent > _HOLE_SLICES:
                    break
        if last > detected:
            return last
        # And the detector holds on where there is no sound any more.
        for at in range(
            detected - 1, max(begin, detected - _OFFSET_BEFORE_SLICES, self._first_slice) - 1, -1
        ):
            if self._levels[at - self._first_slice] > edge_db:
                return at + 1
        return detected
