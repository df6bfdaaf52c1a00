"""A model of Twilio's playout: the audio that a phone plays, and when.

Twilio buffers received audio and plays it in order, 8,000 samples a second. Audio that arrives before the
buffer is empty continues without a gap. Audio that arrives later leaves a gap of silence, which delays all
audio after it. A ``mark`` is echoed once the audio before it has been played, or at once with an empty
buffer. ``clear`` empties the buffer and echoes the waiting marks. Source: Twilio's documentation,
voice/media-streams/websocket-messages.

Pure: time is an argument, in seconds on any monotonic clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moshi_phone.audio.formats import PHONE_RATE_HZ

MULAW_SILENCE = 0xFF
"""The µ-law byte of the sample 0."""


@dataclass(frozen=True, slots=True)
class PlayedSegment:
    """The audio of one ``media`` message, played without a break.

    Attributes:
        heard_sample: time at which its first byte is played, in samples since the call's start.
        received_sample: number of bytes received before it.
        mulaw: µ-law bytes, 8 kHz; shorter than received if a ``clear`` cut it.
        arrived_s: arrival time of its message.
    """

    heard_sample: int
    received_sample: int
    mulaw: bytes
    arrived_s: float

    @property
    def end_sample(self) -> int:
        """The sample after its last, on the ear's time line."""
        return self.heard_sample + len(self.mulaw)


@dataclass(frozen=True, slots=True)
class Gap:
    """Silence from a buffer underrun; position and length in samples since the call's start."""

    heard_sample: int
    samples: int

    @property
    def ms(self) -> float:
        """Its duration."""
        return self.samples * 1000 / PHONE_RATE_HZ


@dataclass(frozen=True, slots=True)
class MarkEcho:
    """A mark's echo: its name, its time, and whether its audio was played or cleared."""

    name: str
    at_s: float
    played: bool


class Playback:
    """Simulates Twilio's playout of a server's audio, and records all of it.

    Memory grows with the call, by 8 kB a second, for measurements afterwards.

    Args:
        start_s: the call's start on the caller's clock; sample 0 of the playout's time line.
    """

    def __init__(self, start_s: float = 0.0) -> None:
        self.start_s = start_s
        self.segments: list[PlayedSegment] = []
        self.gaps: list[Gap] = []
        self.received_samples = 0  # total; played in this order
        self._end_sample = 0  # the buffer is empty from here on
        self._waiting: list[MarkEcho] = []  # marks whose audio has not been played
        self._last_s = start_s  # the latest time seen; time must not decrease

    def media(self, mulaw: bytes, now_s: float) -> None:
        """Add the audio of an arriving ``media`` message: any number of µ-law bytes."""
        now = self._sample(now_s)
        heard = max(now, self._end_sample)
        if self.segments and heard > self._end_sample:  # no underrun before the first audio
            self.gaps.append(Gap(self._end_sample, heard - self._end_sample))
        self.segments.append(PlayedSegment(heard, self.received_samples, mulaw, now_s))
        self.received_samples += len(mulaw)
        self._end_sample = heard + len(mulaw)

    def mark(self, name: str, now_s: float) -> None:
        """Add a ``mark``; ``echoes`` returns it once the audio before it has been played."""
        self._sample(now_s)
        self._waiting.append(MarkEcho(name, max(now_s, self._seconds(self._end_sample)), played=True))

    def clear(self, now_s: float) -> None:
        """Empty the buffer: unplayed audio is discarded, and waiting marks are echoed at once."""
        now = self._sample(now_s)
        # Backwards: only the last segments can still be unplayed.
        for at in range(len(self.segments) - 1, -1, -1):
            segment = self.segments[at]
            if segment.end_sample <= now:
                break
            kept = segment.mulaw[: max(0, now - segment.heard_sample)]
            self.segments[at] = PlayedSegment(
                segment.heard_sample, segment.received_sample, kept, segment.arrived_s
            )
        self._end_sample = min(self._end_sample, now)  # the buffer is empty now
        self._waiting = [
            echo if echo.at_s <= now_s else MarkEcho(echo.name, now_s, played=False) for echo in self._waiting
        ]

    def echoes(self, now_s: float) -> list[MarkEcho]:
        """Return the mark echoes due by now, in order, each once."""
        due = [echo for echo in self._waiting if echo.at_s <= now_s]
        self._waiting = self._waiting[len(due) :]
        return due

    @property
    def next_echo_s(self) -> float | None:
        """Time of the next mark's echo, or None if no mark waits."""
        return self._waiting[0].at_s if self._waiting else None

    def lead_ms(self, now_s: float) -> float:
        """Return the duration of the buffered, unplayed audio."""
        return max(0.0, (self._seconds(self._end_sample) - now_s) * 1000)

    def heard(self, until_s: float) -> NDArray[np.uint8]:
        """Return the played audio from the start to a time: µ-law uint8 ``[n]``, 8 kHz, gaps as silence."""
        ear = np.full(max(0, self._floor(until_s)), MULAW_SILENCE, np.uint8)
        for segment in self.segments:
            part = np.frombuffer(segment.mulaw, np.uint8)[: max(0, len(ear) - segment.heard_sample)]
            ear[segment.heard_sample : segment.heard_sample + len(part)] = part
        return ear

    def heard_between(self, begin_sample: int, end_sample: int) -> NDArray[np.uint8]:
        """Return the played audio of a past part of the call: µ-law uint8 ``[end - begin]``."""
        part = np.full(max(0, end_sample - begin_sample), MULAW_SILENCE, np.uint8)
        for segment in reversed(self.segments):  # newest first: callers ask for recent parts only
            if segment.end_sample <= begin_sample:
                break
            first, last = max(segment.heard_sample, begin_sample), min(segment.end_sample, end_sample)
            if first < last:
                played = np.frombuffer(segment.mulaw, np.uint8)
                at = first - segment.heard_sample
                part[first - begin_sample : last - begin_sample] = played[at : at + last - first]
        return part

    def heard_s(self) -> NDArray[np.float64]:
        """Return each received sample's playing time, seconds on the caller's clock: float64 ``[received]``.

        NaN for samples discarded by a ``clear``.
        """
        times = np.full(self.received_samples, np.nan)
        for segment in self.segments:
            first, count = segment.received_sample, len(segment.mulaw)
            times[first : first + count] = (segment.heard_sample + np.arange(count)) / PHONE_RATE_HZ
        return times + self.start_s

    def _sample(self, now_s: float) -> int:
        if now_s < self._last_s:
            raise ValueError(f"expected time to go on from {self._last_s} s, got {now_s} s")
        self._last_s = now_s
        # Tolerance: a fraction of a sample is rounding, not lateness.
        return math.ceil((now_s - self.start_s) * PHONE_RATE_HZ - 1e-3)

    def _floor(self, at_s: float) -> int:
        return math.floor((at_s - self.start_s) * PHONE_RATE_HZ + 1e-3)

    def _seconds(self, sample: int) -> float:
        return self.start_s + sample / PHONE_RATE_HZ
