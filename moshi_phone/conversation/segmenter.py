"""Speech segments of one voice: detected by Silero's network, with edges refined by the sound level.

The network detects an onset some 30 ms late and an end up to 130 ms late. So each edge is searched around the
network's, where the level leaves the background or returns to it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from moshi_phone.audio.formats import PHONE_RATE_HZ
from moshi_phone.audio.running_minimum import RunningMinimum
from moshi_phone.audio.silence import SILENCE_RMS
from moshi_phone.conversation.silero import (
    CONTEXT_SAMPLES,
    WINDOW_SAMPLES,
    Judging,
    NetworkState,
    judge_together,
)
from moshi_phone.conversation.span import Span

SLICE_SAMPLES = 64  # 8 ms: the resolution of the edges
_SLICES = WINDOW_SAMPLES // SLICE_SAMPLES
SLICE_S = SLICE_SAMPLES / PHONE_RATE_HZ
WINDOW_S = WINDOW_SAMPLES / PHONE_RATE_HZ

# Silero's own thresholds: for the start of speech, and for its continuation
_SPEECH, _STILL_SPEECH = 0.5, 0.35
_QUIET_WINDOWS = 3  # 96 ms without speech end a segment
_MIN_SOUND_S = 0.064  # shorter sounds are clicks

# Edges.
_ABOVE_BACKGROUND_DB = 4.0  # five times the variation of 8 ms of steady noise
_LOWEST_DB = -52.0  # re full scale; softer sound is not a voice on a phone
_BELOW_PEAK_DB = 30.0  # softer sound at the end of a voice is reverberation
_ONSET_SLICES = 24  # an onset may be up to 190 ms before the detector's
_OFFSET_BEFORE_SLICES, _OFFSET_AFTER_SLICES = 44, 20  # 350 ms (longest in noise) and 160 ms
_HOLE_SLICES = 9  # silences of 72 ms occur inside a sound: a stop and its release

# The network runs only while there is sound, because it takes most of the time, and this long after it: in a
# segment of speech, after one, and after other sound. It is reset before it runs again: after long silence or
# noise it would miss the beginning of speech.
_SOUND_ABOVE_BACKGROUND_DB = 3.0
_SOUND_DB = -62.0
_SILENCE_DB = 20 * math.log10(SILENCE_RMS)
_IN_SPEECH_WINDOWS, _AFTER_SPEECH_WINDOWS, _AFTER_SOUND_WINDOWS = 16, 8, 3
_REPLAYED_WINDOWS = 3
_REPLAYED_SAMPLES = _REPLAYED_WINDOWS * WINDOW_SAMPLES
_BACKGROUND_WINDOWS = 250  # the background level is that of the softest window in 8 s
_LOWEST_BACKGROUND_DB = -75.0

# Music or crowd noise never pauses: reset the network regularly there, as pipecat's analyzer does.
_RESET_WINDOWS = 63  # 2 s
_RESET_QUIET_WINDOWS = 5
_RESET_BELOW = 0.1

_KEPT_SLICES = 128  # 1 s of levels


class SpeechSegmenter:
    """Detects the speech segments of one voice, block by block; only the list of segments grows.

    The result does not depend on the block sizes.

    Attributes:
        segments: finished segments, in order.
        open_since_s: begin of the open segment, or None.
        sound_until_s: end of the last sound, speech or not; 0 before any.
    """

    def __init__(self) -> None:
        self.segments: list[Span] = []
        self.open_since_s: float | None = None
        self.sound_until_s = 0.0
        self._network = NetworkState()  # of the detector, from one window to the next
        self._rest = np.zeros(0, np.int16)  # audio of an incomplete window
        self._windows = 0  # processed so far: the clock of all times
        # Levels in dB: of the last slices, beginning with ``_first_slice``, and of the last windows.
        self._levels: list[float] = []
        self._first_slice = 0
        self._background = RunningMinimum(_BACKGROUND_WINDOWS)
        self._background_db = 0.0  # at the current window
        self._silent_windows = _IN_SPEECH_WINDOWS  # since the last sound
        self._is_running = False  # the network, in the last window
        # The end of the processed audio: windows to replay, and the context of the first one.
        self._before = np.zeros(CONTEXT_SAMPLES + _REPLAYED_SAMPLES, np.float32)
        self._since_reset = 0  # windows since the network's state was cleared
        self._low_windows = 0  # in a row, in which the network heard no speech
        # The open segment: the detector's last slice, windows without speech since, its peak level.
        self._last_slice = 0
        self._quiet_windows = 0
        self._peak_db = -np.inf

    @property
    def heard_s(self) -> float:
        """Duration of the processed audio."""
        return self._windows * WINDOW_S

    @property
    def spans(self) -> list[Span]:
        """All segments, including the open one up to now."""
        if self.open_since_s is None:
            return self.segments
        return [*self.segments, Span(self.open_since_s, max(self.open_since_s, self._last_slice * SLICE_S))]

    def feed(self, samples: NDArray[np.int16]) -> None:
        """Process the next audio: int16 ``[n]``, 8 kHz mono."""
        for error in filter(None, judge_together([self.judging(samples)])):
            raise error

    def judging(self, samples: NDArray[np.int16]) -> Judging:
        """Process the next audio as a generator: it yields windows and receives speech probabilities."""
        waiting = np.concatenate((self._rest, samples)) if self._rest.size else samples
        count = waiting.size // WINDOW_SAMPLES
        new = waiting[: count * WINDOW_SAMPLES].astype(np.float32) / np.float32(32768)
        self._rest = waiting[len(new) :].copy()
        if not count:
            return
        audio: NDArray[np.float32] = np.concatenate((self._before, new))
        self._before = audio[-len(self._before) :].copy()
        levels_db = self._measured(new)
        backgrounds_db = self._background.add(np.maximum(levels_db, _LOWEST_BACKGROUND_DB))
        thresholds_db = np.maximum(backgrounds_db + _SOUND_ABOVE_BACKGROUND_DB, _SOUND_DB)
        is_sound: list[bool] = [*(levels_db > thresholds_db).tolist(), True]  # the block's end stops a skip
        index = 0
        while index < count:
            self._silent_windows = 0 if is_sound[index] else self._silent_windows + 1
            self._background_db = float(backgrounds_db[index])
            if self._is_due():
                if not self._is_running or self._is_reset_due():
                    yield from self._restarted(audio[index * WINDOW_SAMPLES :])
                probability = yield self._network, _window(audio, _REPLAYED_WINDOWS + index)
                self._since_reset += 1
                self._low_windows = self._low_windows + 1 if probability < _RESET_BELOW else 0
                self._judge(probability)
            else:
                self._is_running = False
                if self.open_since_s is None:  # nothing happens until the next sound
                    skipped = is_sound.index(True, index) - index
                    self._silent_windows += skipped - 1
                    self._windows += skipped
                    index += skipped
                    continue
                self._judge(0.0)
            self._windows += 1
            index += 1
        if len(self._levels) > 2 * _KEPT_SLICES:
            forgotten = len(self._levels) - _KEPT_SLICES
            del self._levels[:forgotten]
            self._first_slice += forgotten

    def _measured(self, new: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the level of each window in dB, and store that of each slice."""
        slices = new.reshape(-1, SLICE_SAMPLES)
        powers = np.einsum("ij,ij->i", slices, slices) / SLICE_SAMPLES
        self._levels += _decibels(powers).tolist()
        levels_db = _decibels(powers.reshape(-1, _SLICES).sum(axis=1) / _SLICES)
        loud = np.flatnonzero(levels_db > _SILENCE_DB)
        if loud.size:
            self.sound_until_s = (self._windows + int(loud[-1]) + 1) * WINDOW_S
        return levels_db

    def _restarted(self, audio: NDArray[np.float32]) -> Judging:
        """Reset the network, and run it on the windows before the next one, with which ``audio`` begins."""
        self._is_running = True
        self._since_reset = self._low_windows = 0
        if not audio[: CONTEXT_SAMPLES + _REPLAYED_SAMPLES].any():
            self._network.reset(silent_windows=_REPLAYED_WINDOWS)
            return
        self._network.reset()
        for number in range(_REPLAYED_WINDOWS):
            yield self._network, _window(audio, number)

    def finish(self) -> None:
        """Close the open segment at the end of the call."""
        if self.open_since_s is not None:
            self._close()

    def _is_due(self) -> bool:
        """Return whether the network runs in this window: in a sound, and for a while after it."""
        if self.open_since_s is not None:
            return self._silent_windows <= _IN_SPEECH_WINDOWS
        heard_speech = self._low_windows < self._since_reset
        return self._silent_windows <= (_AFTER_SPEECH_WINDOWS if heard_speech else _AFTER_SOUND_WINDOWS)

    def _is_reset_due(self) -> bool:
        return (
            self.open_since_s is None
            and self._since_reset >= _RESET_WINDOWS
            and self._low_windows >= _RESET_QUIET_WINDOWS
        )

    def _judge(self, probability: float) -> None:
        first = self._windows * _SLICES
        at = first - self._first_slice
        levels = self._levels[at : at + _SLICES]
        if self.open_since_s is None:
            if probability >= _SPEECH:
                self.open_since_s = self._onset(first) * SLICE_S
                self._last_slice, self._quiet_windows = first + _SLICES, 0
                self._peak_db = max(levels)
            return
        self._peak_db = max(self._peak_db, *levels)
        if probability >= _STILL_SPEECH:
            self._last_slice, self._quiet_windows = first + _SLICES, 0
            return
        self._quiet_windows += 1
        if self._quiet_windows >= _QUIET_WINDOWS:
            self._close()

    def _close(self) -> None:
        assert self.open_since_s is not None  # noqa: S101 - the callers check this
        segment = Span(self.open_since_s, self._offset(self._last_slice) * SLICE_S)
        self.open_since_s = None
        if segment.secs >= _MIN_SOUND_S:
            self.segments.append(segment)

    def _edge_db(self) -> float:
        return max(self._background_db + 1.0 + _ABOVE_BACKGROUND_DB, _LOWEST_DB)

    def _onset(self, detected: int) -> int:
        """Return the first slice of the sound in which the network detected speech."""
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
        """Return the slice after the end of the sound in which the network last detected speech."""
        edge_db = max(self._edge_db(), self._peak_db - _BELOW_PEAK_DB)
        begin = round((self.open_since_s or 0.0) / SLICE_S)
        # Later levels may be known, but the result must not depend on the block sizes.
        end = min(self._first_slice + len(self._levels), (self._windows + 1) * _SLICES)
        # Forward: the sound may continue with a soft final consonant.
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
        # Backward: the network reacts late to the end of the sound.
        for at in range(
            detected - 1, max(begin, detected - _OFFSET_BEFORE_SLICES, self._first_slice) - 1, -1
        ):
            if self._levels[at - self._first_slice] > edge_db:
                return at + 1
        return detected


def _decibels(powers: NDArray[np.float32]) -> NDArray[np.float32]:
    decibels: NDArray[np.float32] = 10 * np.log10(powers + np.float32(1e-12))
    return decibels


def _window(audio: NDArray[np.float32], number: int) -> NDArray[np.float32]:
    """Return a window after its context; ``audio`` begins with the context of the first one."""
    begin = number * WINDOW_SAMPLES
    return audio[begin : begin + CONTEXT_SAMPLES + WINDOW_SAMPLES]
