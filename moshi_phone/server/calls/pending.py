"""Calls whose stream has not come yet: what was decided on them, and their sessions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from moshi_phone.engines.duplex import NO_OVERRIDES, CallOverrides
from moshi_phone.telephony.webhooks import IncomingCall

KEPT_S = 120.0  # longer than the token of such a stream lives
_MOST = 1_000  # then the oldest is forgotten, and its call begins as any other


@dataclass(frozen=True)
class PendingCall:
    """A call between its webhook and its stream.

    Attributes:
        incoming: what the webhook told of it; None for a stream that no webhook of ours connected.
        request: what it asks of the engine.
        transfer_to: E.164, where a transfer of it goes; None for where all go.
        resumes: how many streams of it broke off before this one.
        section: of ``personas.toml``, by name; None for the default.
        is_browser: whether it is one of the page's.
        is_told: whether the caller was told that the call is kept (``--record-notice``).
    """

    incoming: IncomingCall | None = None
    request: CallOverrides = NO_OVERRIDES
    transfer_to: str | None = field(default=None, repr=False)
    resumes: int = 0
    section: str | None = None
    is_browser: bool = False
    is_told: bool = False

    def as_told(self) -> PendingCall:
        """Give it with the caller told."""
        return replace(self, is_told=True)


class PendingCalls:
    """Remembers each until its stream is here, or for two minutes where nobody says longer."""

    def __init__(self) -> None:
        self._calls: dict[str, tuple[float, PendingCall]] = {}  # until when, by SID

    def add(self, call_sid: str, expected: PendingCall, now_s: float, later_s: float = 0.0) -> None:
        """Remember what was decided; the last word counts, since Twilio asks twice where it had no answer.

        Args:
            call_sid: names the call.
            expected: what was decided.
            now_s: monotonic.
            later_s: how much longer than others its stream may take to come.
        """
        self._calls.pop(call_sid, None)  # so that it moves to the end, where the newest stand
        self._calls[call_sid] = (now_s + KEPT_S + later_s, expected)
        if len(self._calls) > _MOST:
            del self._calls[next(iter(self._calls))]

    def has(self, call_sid: str, now_s: float) -> bool:
        """Tell whether the stream of a call is still to come."""
        until_s, _ = self._calls.get(call_sid, (now_s, None))
        return now_s < until_s

    def peek(self, call_sid: str) -> PendingCall | None:
        """Give what was decided of a call, and go on remembering it."""
        known = self._calls.get(call_sid)
        return known[1] if known else None

    def mark_told(self, call_sid: str) -> None:
        """Enter that the caller was told that the call is kept."""
        if known := self._calls.get(call_sid):
            self._calls[call_sid] = (known[0], known[1].as_told())

    def pop(self, call_sid: str, now_s: float) -> PendingCall:
        """Give what was decided of a call whose stream is here, once; nothing special where nothing was."""
        self._calls = {
            sid: (until_s, expected) for sid, (until_s, expected) in self._calls.items() if now_s < until_s
        }
        _, expected = self._calls.pop(call_sid, (now_s, PendingCall()))
        return expected


HOLD_SECS = 20.0
"""As long as Twilio may take to open a stream: callers of trial accounts hear an announcement first."""


class Reservations:
    """Remembers each call until its stream is here, Twilio reports its end, or ``HOLD_SECS`` are over."""

    def __init__(self) -> None:
        self._made_s: dict[str, float] = {}

    def make(self, call: str, now_s: float) -> None:
        """Remember that this call was connected.

        Args:
            call: its SID.
            now_s: on a monotonic clock; one that is set back would keep the line busy meanwhile.
        """
        self._made_s[call] = now_s

    def release(self, call: str) -> None:
        """Drop a reservation: the call's stream is here, or will not come."""
        self._made_s.pop(call, None)

    def is_made(self, call: str) -> bool:
        """Tell whether neither the call's stream nor its end has come."""
        return call in self._made_s

    def count(self, now_s: float, *, besides: str) -> int:
        """Count the calls whose streams are still to come.

        Args:
            now_s: on the clock of ``make``.
            besides: a call that does not count; Twilio asks twice where it had no answer.
        """
        self._made_s = {call: made for call, made in self._made_s.items() if now_s - made < HOLD_SECS}
        return len(self._made_s.keys() - {besides})
