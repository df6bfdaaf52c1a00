"""The amount of audio sent to the other side and not played yet. Pure: time is an argument."""

from __future__ import annotations

import math

from moshi_phone.audio.mark_acks import MarkAckWindow, RoundTrip

_MARKS_KEPT = 64  # unacknowledged marks are forgotten, oldest first
_UNDERRUN_WORTH_COUNTING_MS = 1.0
_DOUBT = (
    0.5  # of the jitter: one in a thousand times, the earliest of ten acknowledgements is this much too late
)
_CLOCK_NOISE_S = 0.05  # maximum error of the far clock while it is unknown
_SETTLES_S = 2.0  # after a restart: what is measured in it existed before


class PlayoutClock:
    """A model of the other side's playout buffer, which plays its content in order, or waits.

    Its state is one number: the time at which playback would have started if it had continued without a break
    until now. An underrun moves that start by its duration; nothing else does. There are two lower bounds.
    The account's: audio is not played before it is sent. And that of acknowledged marks, less the round
    trip: audio that the network delayed is played late, which the account cannot see. The later bound
    counts while it holds: after earlier acknowledgements, the account's counts again.

    All times are the other side's (``FarEndClock``), in seconds.

    Attributes:
        underruns: number of times that the buffer ran dry, without the start.
        underrun_ms: total duration of underruns.
    """

    def __init__(self) -> None:
        self.underruns = 0
        self.underrun_ms = 0.0
        self._position_s = 0.0  # audio sent so far
        self.restart()

    @property
    def jitter_ms(self) -> float:
        """Jitter of the return path, measured by acknowledgements."""
        return self._echoes.jitter_s * 1000

    @property
    def round_trip_ms(self) -> float:
        """The round-trip time, of the fastest acknowledgement; 0 before the first."""
        least_s = self._round_trip.least_s
        return max(0.0, least_s) * 1000 if math.isfinite(least_s) else 0.0

    def restart(self) -> None:
        """Discard the state measured with a wrong clock; underruns stay counted."""
        self._underrun_before_ms = self.underrun_ms  # later counts are added to it
        self._settled_at_s = self._position_s + _SETTLES_S if self._position_s else 0.0
        self._first_began_s = 0.0  # underruns are counted from here on
        self._sent_began_s = -math.inf  # start of playback, by the account of sent audio
        self._echo_began_s = -math.inf  # the same, by acknowledgements
        # By name: position, time and account at sending.
        self._marks: dict[str, tuple[float, float, float]] = {}
        self._echoes = MarkAckWindow()
        self._round_trip = RoundTrip()

    def lead_ms(self, now_s: float) -> float:
        """Audio sent and not played yet, in ms; 0 if the buffer is empty."""
        return max(0.0, self._began_s + self._position_s - now_s) * 1000

    def sent(self, audio_s: float, now_s: float) -> None:
        """Record audio sent now."""
        began_s = now_s - self._position_s
        if began_s > self._sent_began_s:
            if math.isinf(self._sent_began_s):
                self._first_began_s = began_s
            self._sent_began_s = began_s
            self._count_underrun()
        self._position_s += audio_s

    def trimmed(self, audio_s: float) -> None:
        """Record audio that will never be sent."""
        self._round_trip.trimmed(audio_s)

    def marked(self, mark: str, now_s: float) -> None:
        """Record a mark sent now, behind all audio so far."""
        self._marks[mark] = self._position_s, now_s, self._sent_began_s
        if len(self._marks) > _MARKS_KEPT:
            del self._marks[next(iter(self._marks))]

    def cleared(self, now_s: float) -> None:
        """Record a ``clear``: audio not played by now never will be, which is no underrun."""
        lost_s = self.lead_ms(now_s) / 1000
        # The position stays, because it identifies marks: the start of playback moves instead.
        self._sent_began_s = self._began_s - lost_s
        self._first_began_s -= lost_s
        self._echo_began_s = -math.inf
        self._echoes = MarkAckWindow()
        self._marks.clear()  # they are acknowledged at once, independent of playback

    def echoed(self, mark: str, now_s: float) -> None:
        """Process an acknowledgement; one of an unknown mark is ignored."""
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
        # It arrived before its audio can have been played, so that audio was lost.
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
        # The maximum of the estimates, not their sum: a temporary estimate counts once.
        underrun_ms = self._underrun_before_ms + (self._began_s - self._first_began_s) * 1000
        if underrun_ms >= self.underrun_ms + _UNDERRUN_WORTH_COUNTING_MS:
            self.underruns += 1
        self.underrun_ms = max(self.underrun_ms, underrun_ms)
