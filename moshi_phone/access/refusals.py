"""Counts refused calls, and logs each in one line."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from moshi_phone.access.refusal import CAUSES, Refusal, RefusalCause, Where
from moshi_phone.runtime.call_log import short_sid
from moshi_phone.runtime.rate_limited_log import RateLimitedLog

GENUINE = frozenset(
    (
        *(RefusalCause.DENIED, RefusalCause.RATE, RefusalCause.HOOK, RefusalCause.HOOK_FAILED),
        *(RefusalCause.REQUEST, RefusalCause.BUSY, RefusalCause.CLOSING, RefusalCause.ENGINE),
        RefusalCause.OVERLOAD,
    )
)
"""Causes of authenticated callers. Strangers can trigger all other causes at will."""
GENUINE_LINES = 20
"""Lines logged within ten seconds for one such cause; one line for any other cause."""


RefusalCounts = dict[Where, dict[RefusalCause, int]]


class Refusals:
    """Refused calls of one process since its start.

    Args:
        clock: returns seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        # Since the start; never reset, as Prometheus expects.
        self._counts = Counter[tuple[Where, RefusalCause]]()
        # One limit for each cause: a flood of one kind must not hide a first line of another.
        self._logs = {
            (where, cause): RateLimitedLog(clock, GENUINE_LINES if cause in GENUINE else 1)
            for where, causes in CAUSES.items()
            for cause in causes
        }

    def note(self, where: Where, refusal: Refusal, *, call_sid: str = "", peer: str = "") -> None:
        """Count a refusal, and log it.

        Args:
            where: the entrance.
            refusal: why.
            call_sid: of the call, if known; it may be forged.
            peer: the sender: an address, or the caller's redacted number.
        """
        self._counts[where, refusal.cause] += 1
        who = peer or "an unknown peer"
        line = f"Refused a {where} (cause {refusal.cause}, from {who}): {refusal.reason}"
        fields = {"where": str(where), "cause": str(refusal.cause), "peer": peer}
        if call_sid:
            fields["call"] = short_sid(call_sid)
        self._logs[where, refusal.cause].warn(line, **fields)

    @property
    def counts(self) -> RefusalCounts:
        """Refused calls by entrance and cause, zeros included: Prometheus sees the first as a rise."""
        return {
            where: {cause: self._counts[where, cause] for cause in causes} for where, causes in CAUSES.items()
        }

    @property
    def by_cause(self) -> dict[str, int]:
        """Number of refused calls by cause, without zeros."""
        return by_cause(self.counts)


def by_cause(*counts: RefusalCounts) -> dict[str, int]:
    """Add up the refused calls of several processes by cause, without zeros."""
    totals = Counter[str]()
    for process in counts:
        for causes in process.values():
            totals.update({str(cause): count for cause, count in causes.items() if count})
    return dict(totals)
