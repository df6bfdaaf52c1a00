"""Calls whose streams have not started: the decisions on them, and their reserved sessions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from moshi_phone.engines.duplex import NO_OVERRIDES, CallOverrides
from moshi_phone.telephony.incoming_call import IncomingCall

KEPT_S = 120.0  # longer than the lifetime of a stream's token
_MOST = 1_000  # beyond that, the oldest is dropped, and its call begins with default settings


@dataclass(frozen=True)
class PendingCall:
    """A call between its webhook and its stream.

    Attributes:
        incoming: data of the webhook; None for a stream without a webhook of ours.
        request: engine settings of the call.
        transfer_to: E.164 number for transfers of this call; None for the server's default.
        resumes: number of earlier streams that broke off.
        section: name of its section in ``personas.toml``; None for the default.
        is_browser: whether it comes from the page.
        is_runners: whether pipecat's runner has answered its webhook.
        is_told: whether the caller has heard the recording notice (``--record-notice``).
    """

    incoming: IncomingCall | None = None
    request: CallOverrides = NO_OVERRIDES
    transfer_to: str | None = field(default=None, repr=False)
    resumes: int = 0
    section: str | None = None
    is_browser: bool = False
    is_runners: bool = False
    is_told: bool = False

    def as_told(self) -> PendingCall:
        """Return a copy with ``is_told`` set."""
        return replace(self, is_told=True)


class PendingCalls:
    """Stores each call until its stream starts, for two minutes plus ``later_s``."""

    def __init__(self) -> None:
        self._calls: dict[str, tuple[float, PendingCall]] = {}  # expiry time and decisions, by SID

    def add(self, call_sid: str, expected: PendingCall, now_s: float, later_s: float = 0.0) -> None:
        """Store the decisions. The last ones win: Twilio repeats a request that got no answer.

        Args:
            call_sid: SID of the call.
            expected: the decisions.
            now_s: monotonic.
            later_s: extra time for the stream to start.
        """
        self._calls.pop(call_sid, None)  # removed first, so that it moves to the end, as the newest
        self._calls[call_sid] = (now_s + KEPT_S + later_s, expected)
        if len(self._calls) > _MOST:
            del self._calls[next(iter(self._calls))]

    def has(self, call_sid: str, now_s: float) -> bool:
        """Return whether the stream of a call has not started yet."""
        until_s, _ = self._calls.get(call_sid, (now_s, None))
        return now_s < until_s

    def peek(self, call_sid: str) -> PendingCall | None:
        """Return the decisions on a call without removing them."""
        known = self._calls.get(call_sid)
        return known[1] if known else None

    def all(self) -> dict[str, PendingCall]:
        """Return the decisions on all calls, by SID, without removing them."""
        return {sid: expected for sid, (_, expected) in self._calls.items()}

    def mark_told(self, call_sid: str) -> None:
        """Record that the caller has heard the notice."""
        if known := self._calls.get(call_sid):
            self._calls[call_sid] = (known[0], known[1].as_told())

    def pop(self, call_sid: str, now_s: float) -> PendingCall:
        """Remove and return the decisions on a call whose stream has started; defaults if there are none."""
        self._calls = {
            sid: (until_s, expected) for sid, (until_s, expected) in self._calls.items() if now_s < until_s
        }
        _, expected = self._calls.pop(call_sid, (now_s, PendingCall()))
        return expected


HOLD_SECS = 20.0
"""Upper limit of the time until a stream comes: trial accounts play an announcement first."""


class Reservations:
    """Reserved sessions, until the stream starts, Twilio reports the call's end, or ``HOLD_SECS`` pass."""

    def __init__(self) -> None:
        self._made_s: dict[str, float] = {}  # by SID

    def make(self, call: str, now_s: float) -> None:
        """Reserve a session for a call.

        Args:
            call: its SID.
            now_s: monotonic; a clock set back would prolong the reservation.
        """
        self._made_s[call] = now_s

    def release(self, call: str) -> None:
        """Drop a reservation: the stream has started, or will not start."""
        self._made_s.pop(call, None)

    def is_made(self, call: str) -> bool:
        """Return whether the call has neither started its stream nor ended."""
        return call in self._made_s

    def count(self, now_s: float, *, besides: str) -> int:
        """Return the number of calls whose streams have not started.

        Args:
            now_s: on the clock of ``make``.
            besides: SID of a call to leave out; Twilio repeats a request that got no answer.
        """
        self._made_s = {call: made for call, made in self._made_s.items() if now_s - made < HOLD_SECS}
        return len(self._made_s.keys() - {besides})
