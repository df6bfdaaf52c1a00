"""Phone calls that moved to another worker because theirs did not answer. Pure.

A worker may be back later: its machine was suspended, or its network was interrupted. Its sessions of calls
that moved must end then, or they would request the calls from Twilio.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

MAX_CALLS = 1_000  # beyond that, the oldest is dropped


class MovedCalls:
    """Stores which workers a call has left."""

    def __init__(self) -> None:
        self._left: dict[str, frozenset[str]] = {}  # names of workers by SID, oldest first

    def note(self, call_sid: str, silent: Collection[str]) -> None:
        """Record that a call has moved.

        Args:
            call_sid: its SID.
            silent: the workers that did not answer; the call may still have a session there.
        """
        self._left.pop(call_sid, None)  # removed first, so that it moves to the end
        if silent:
            self._left[call_sid] = frozenset(silent)
        if len(self._left) > MAX_CALLS:
            del self._left[next(iter(self._left))]

    def take(self, worker: str, call_sids: Iterable[str]) -> list[str]:
        """Return those calls in a worker's report that have left it; each only once."""
        found = [sid for sid in call_sids if worker in self._left.get(sid, ())]
        for sid in found:
            self._left[sid] -= {worker}
        return found
