"""How much audio the other side has been sent and has not played yet. Pure: time comes in as an argument."""

from __future__ import annotations

import math

from moshi_phone.audio.mark_acks import MarkAckWindow, RoundTrip

_MARKS_KEPT = 64  # echoes that never come are forgotten, oldest first
_UNDERRUN_WORTH_COUNTING_MS = 1.0
_DOUBT = 0.5  # of the jitter: once in a thousand times the earliest of ten echoes is so much too late
_CLOCK_NOISE_S = 0.05  # as far as the far clock may be off while it is not known yet
_SETTLES_S = 2.0  # after a restart: what is found out in it was there before


class PlayoutClock:
    """The other side's playout buffer, as seen from here: it plays what it has, in order, or waits.

    Everything is said by one number: when playing would have begun, had it gone on without a break until
    now. Whenever the buffer runs dry, that beginning moves on by as long as it was dry; nothing else moves
    it. Two things are known of it. It is not before the account's: audio is not played before it is sent.
    And it is not before what the echoes of marks prove, less the round trip: audio that was held up on its
    way is played late, which the account cannot see. The later of the two is believed, as long as it holds:
    when echoes come earlier again, the belief goes back to the account.

    All times are the other side's (``FarEndClock``), in seconds.

    Attributes:
        underruns: how often the buffer ran dry, but for its first audio.
        underrun_ms: for how long, in all.
    """

    def __init__(self) -> None:
        self.underruns = 0
        self.underrun_ms = 0.0
        self._position_s = 0.0  # how much audio was sent
        self.restart()

    @property
    def jitter_ms(self) -> float:
        """Jitter of the way back, as the echoes show it."""
        return self._echoes.jitter_s * 1000

    @property
    def round_trip_ms(self) -> float:
        """The way there and back, as the quickest echo shows it; 0 before the first."""
        least_s = self._round_trip.least_s
        return max(0.0, least_s) * 1000 if math.isfinite(least_s) else 0.0

    def restart(self) -> None:
        """Forget what was learned by a clock that turned out wrong; the underruns stay counted."""
        self._underrun_before_ms = self.underrun_ms  # what is counted from here on is added to it
        self._settled_at_s = self._position_s + _SETTLES_S if self._position_s else 0.0
        self._first_began_s = 0.0  # where underruns are counted from
        self._sent_began_s = -math.inf  # when playing began, by the account of what was sent
        self._echo_began_s = -math.inf  # the same, by the echoes
        # By name: position, time and account when it was sent.
        self._marks: dict[str, tuple[float, float, float]] = {}
        self._echoes = MarkAckWindow()
        self._round_trip = RoundTrip()

    def lead_ms(self, now_s: float) -> float:
        """Audio that was sent and not played yet; 0 when the buffer is dry."""
        return max(0.0, self._began_s + self._position_s - now_s) * 1000

    def sent(self, audio_s: float, now_s: float) -> None:
        """Account for audio that leaves now."""
        began_s = now_s - self._position_s
        if began_s > self._sent_began_s:
            if math.isinf(self._sent_began_s):
                self._first_began_s = began_s
            self._sent_began_s = began_s
            self._count_underrun()
        self._position_s += audio_s

    def trimmed(self, audio_s: float) -> None:
        """Take note of audio that will never be sent."""
        self._round_trip.trimmed(audio_s)

    def marked(self, mark: str, now_s: float) -> None:
        """Account for a mark that leaves now, behind all audio sent so far."""
        self._marks[mark] = self._position_s, now_s, self._sent_began_s
        if len(self._marks) > _MARKS_KEPT:
            del self._marks[next(iter(self._marks))]

    def cleared(self, now_s: float) -> None:
        """Account for a ``clear``: what was not played by now never will be, and that is no underrun."""
        lost_s = self.lead_ms(now_s) / 1000
        # Not out of the position, which identifies marks: as if playing had begun so much earlier.
        self._sent_began_s = self._began_s - lost_s
        self._first_began_s -= lost_s
        self._echo_began_s = -math.inf
        self._echoes = MarkAckWindow()
        self._marks.clear()  # their echoes come at once, and say nothing of playing

    def echoed(self, mark: str, now_s: float) -> None:
        """Learn from an echo. One for a mark that nobody sent says nothing."""
        if mark not in self._marks:
            return
        position_s, sent_s, began_s = self._marks.pop(mark)
        late_s = now_s - max(sent_s, min(began_s, self._sent_began_s) + position_s)
        if late_s < -_CLOCK_NOISE_S:
            self._take_back(late_s)
            return
        hidden_s = self._began_s - self._sent_began_s if self._position_s else 0.0
        self._round_trip.add(late_s, hidden_s, self._echoes.jitter_s)
        earliest_s = self._echoes.add(now_s - position_s)
        if earliest_s is not None and self._position_s:
            self._echo_began_s = earliest_s - self._round_trip.least_s - _DOUBT * self._echoes.jitter_s
            self._count_underrun()

    def _take_back(self, late_s: float) -> None:
        # It came before its audio can have been played: what was sent never got there, and nobody plays it.
        lost_s = self._round_trip.least_s - late_s if math.isfinite(self._round_trip.least_s) else -late_s
        self._sent_began_s -= lost_s
        self._echo_began_s -= lost_s
        self._first_began_s -= lost_s

    @property
    def _began_s(self) -> float:
        return max(self._sent_began_s, self._echo_began_s)

    def _count_underrun(self) -> None:
        if self._position_s < self._settled_at_s:
            self._first_began_s = self._began_s
        # The highest that was believed, not the sum of what was: a belief that comes and goes counts once.
        underrun_ms = self._underrun_before_ms + (self._began_s - self._first_began_s) * 1000
        if underrun_ms >= self.underrun_ms + _UNDERRUN_WORTH_COUNTING_MS:
            self.underruns += 1
        self.underrun_ms = max(self.underrun_ms, underrun_ms)
