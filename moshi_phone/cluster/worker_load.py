"""The selection of a worker for each call. Pure.

A gateway gets a report a second, but calls may come more often; so it counts the calls that it has routed.
"""

from __future__ import annotations

from dataclasses import dataclass

from moshi_phone.cluster.worker_client import WorkerReport


@dataclass
class _Entry:
    """One worker's load: its last report, changed by each call routed since.

    Attributes:
        free: number of its free sessions; below 0 if two calls were routed at once.
        sessions: number of its sessions in use.
    """

    free: int
    sessions: int


class WorkerLoad:
    """One gateway's estimate of the workers' load: their last reports plus the calls routed since."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}

    def update(self, name: str, report: WorkerReport | None) -> None:
        """Store a worker's report; None if it does not answer."""
        if report is None or not report.takes_calls:
            self._entries.pop(name, None)
        else:
            self._entries[name] = _Entry(report.free, report.sessions)

    def assign(self, name: str) -> None:
        """Count a call that was routed to a worker."""
        if entry := self._entries.get(name):
            entry.free -= 1
            entry.sessions += 1

    def mark_full(self, name: str) -> None:
        """Route no more calls to a worker until its next report: it is full or does not answer."""
        if entry := self._entries.get(name):
            entry.free = 0

    def keep_only(self, names: set[str]) -> None:
        """Drop all workers except these."""
        self._entries = {name: entry for name, entry in self._entries.items() if name in names}

    def pick(self) -> str | None:
        """Return the worker with the fewest calls among those with a free session; None if all are full."""
        free = [
            # By name last, so that the choice is deterministic.
            (entry.sessions, -entry.free, name)
            for name, entry in self._entries.items()
            if entry.free > 0
        ]
        return min(free)[2] if free else None
