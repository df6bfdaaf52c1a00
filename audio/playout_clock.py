"""How much audio the other side has been sent and has not played yet. Pure: time comes in as an argument."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

_ECHOES_TO_BELIEVE = 3  # one late echo is the network's jitter; this many in a row are a longer buffer
_ECHO_NOISE_S = 0.020
_MARKS_KEPT = 64  # echoes that never come are forgotten, oldest first
_UNDERRUN_WORTH_COUNTING_S = 0.001


@dataclass
class PlayoutClock:
    """Twilio's playout buffer, as seen from here: it plays what it has, in order, and waits when it is dry.

    The lead is known by accounting. The echoes of marks check it: an echo comes when the audio before its
    mark was played, so it is late by the network's round trip, always the same. Echoes that are later than
    that mean that the buffer is longer than the account says (audio was held up on its way and plays
    late), and the account is put right.

    Attributes:
        rate_hz: samples a second.
        underruns: how often the buffer ran dry, but for its first audio.
        underrun_ms: for how long, in all.
    """

    rate_hz: int
    underruns: int = 0
    underrun_ms: float = 0.0
    _ends_s: float | None = None
    _marks: dict[str, float] = field(default_factory=dict[str, float])
    _lateness_s: deque[float] = field(default_factory=lambda: deque(maxlen=_ECHOES_TO_BELIEVE))
    _round_trip_s: float = float("inf")

    def lead_ms(self, now_s: float) -> float:
        """Audio that was sent and not played yet; 0 when the buffer is dry."""
        return 0.0 if self._ends_s is None else max(0.0, self._ends_s - now_s) * 1000

    def sent(self, samples: int, now_s: float) -> None:
        """Account for audio that leaves now."""
        if self._ends_s is None:
            self._ends_s = now_s
        dry_s = now_s - self._ends_s
        if dry_s > 0:
            self._ends_s = now_s
        if dry_s >= _UNDERRUN_WORTH_COUNTING_S:
            self.underruns += 1
            self.underrun_ms += dry_s * 1000
        self._ends_s += samples / self.rate_hz

    def marked(self, mark: str, now_s: float) -> None:
        """Account for a mark that leaves now, behind all audio sent so far."""
        self._marks[mark] = now_s + self.lead_ms(now_s) / 1000
        if len(self._marks) > _MARKS_KEPT:
            del self._marks[next(iter(self._marks))]

    def echoed(self, mark: str, now_s: float) -> None:
        """Check the account against an echo. One for a mark that nobody sent says nothing."""
        expected_s = self._marks.pop(mark, None)
        if expected_s is None or self._ends_s is None:
            return
        self._lateness_s.append(now_s - expected_s)
        self._round_trip_s = min(self._round_trip_s, now_s - expected_s)
        hidden_s = min(self._lateness_s) - self._round_trip_s
        if len(self._lateness_s) == _ECHOES_TO_BELIEVE and hidden_s > _ECHO_NOISE_S:
            self._ends_s = max(self._ends_s, now_s) + hidden_s
            self._marks = {label: expected + hidden_s for label, expected in self._marks.items()}
            self._lateness_s.clear()
