"""Finds the phone calls of workers that have vanished. Pure.

A worker that is killed closes its sockets: Twilio sees the end of each stream and requests the next step. A
machine that loses its power or its network closes nothing: Twilio keeps sending, and the callers hear
nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

MISSES = 2  # unanswered requests in a row: one alone may be this process's own stall
SILENT_SECS = 2.0  # a shorter silence may be a busy machine's
ASKED_SECS = 10.0  # longer than a worker takes to be found silent
_NO_CALLS: Mapping[str, int] = {}


@dataclass(slots=True)
class _Known:
    """One worker's last report.

    Attributes:
        at_s: its time.
        calls: phone calls in it, with the number of their streams that broke off, by SID.
        misses: number of requests since that were not answered.
    """

    at_s: float
    calls: Mapping[str, int] = field(default_factory=dict[str, int])
    misses: int = 0


class SilentWorkers:
    """Stores which phone calls each worker has, for the time when it no longer answers."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}  # by the worker's name
        self._asked_s: dict[str, float] = {}  # when Twilio asked about a call, by SID; recent ones only

    @property
    def in_doubt(self) -> bool:
        """Whether a worker with calls has missed one request, so that another should be sent at once."""
        return any(one.calls and one.misses == 1 for one in self._known.values())

    def note(self, name: str, calls: Mapping[str, int], now_s: float) -> None:
        """Store the calls of a worker's report.

        Args:
            name: the worker.
            calls: number of streams that broke off, by the call's SID.
            now_s: monotonic.
        """
        self._known[name] = _Known(now_s, calls)

    def note_silence(self, name: str) -> None:
        """Count a request that a worker did not answer."""
        if known := self._known.get(name):
            known.misses += 1

    def keep_only(self, names: Collection[str]) -> None:
        """Drop all workers except these."""
        self._known = {name: known for name, known in self._known.items() if name in names}

    def has_vanished(self, name: str, now_s: float) -> bool:
        """Return whether a worker has not answered for long, after a report."""
        known = self._known.get(name)
        return known is not None and known.misses >= MISSES and now_s - known.at_s >= SILENT_SECS

    def note_asked(self, call_sid: str, now_s: float) -> None:
        """Record that Twilio has asked what to do next in a call."""
        self._asked_s = {sid: at_s for sid, at_s in self._asked_s.items() if now_s - at_s < ASKED_SECS}
        self._asked_s[call_sid] = now_s

    def asked(self, call_sids: Collection[str]) -> list[str]:
        """Return the calls for which Twilio has recently asked what to do next: their streams are over."""
        return [sid for sid in call_sids if sid in self._asked_s]

    def take_lost(self, now_s: float) -> dict[str, int]:
        """Return the calls of vanished workers that no other worker has; each only once.

        Returns:
            Number of streams that broke off, by SID.
        """
        gone = [known for name, known in self._known.items() if self.has_vanished(name, now_s)]
        lost = {sid: resumes for known in gone for sid, resumes in known.calls.items()}
        for known in gone:
            known.calls = _NO_CALLS
        elsewhere = {sid for known in self._known.values() for sid in known.calls}
        return {sid: resumes for sid, resumes in lost.items() if sid not in elsewhere}
