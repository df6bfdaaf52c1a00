"""Calls that were connected and whose streams have not come yet: their sessions are as good as taken.

Between Twilio's webhook and its stream lies about a second. Without this, two callers in that second would
both be connected to the last free session, and one of them would hear nothing instead of the busy tone.
"""

from __future__ import annotations

HOLD_SECS = 3.0


class Reservations:
    """Remembers each call for three seconds: who has hung up by then does not keep the next one out."""

    def __init__(self) -> None:
        self._made_s: dict[str, float] = {}

    def make(self, call: str, now_s: float) -> None:
        """Remember that this call was connected.

        Args:
            call: its SID.
            now_s: on a monotonic clock; one that is set back would keep the line busy meanwhile.
        """
        self._made_s[call] = now_s

    def keep(self, call: str) -> None:
        """Forget it: its stream is here."""
        self._made_s.pop(call, None)

    def count(self, now_s: float, *, besides: str) -> int:
        """Count the calls whose streams are still to come.

        Args:
            now_s: on the clock of ``make``.
            besides: a call that does not count; Twilio asks twice where it had no answer.
        """
        self._made_s = {call: made for call, made in self._made_s.items() if now_s - made < HOLD_SECS}
        return len(self._made_s.keys() - {besides})
