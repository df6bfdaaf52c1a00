"""Which worker to ask for the next call. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from moshi_phone.cluster.worker_report import WorkerReport


@dataclass
class _Entry:
    free: int
    sessions: int


class Roster:
    """What one desk knows of the workers: what they last told, and the calls given out since."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}

    def note(self, name: str, report: WorkerReport | None) -> None:
        """Take in what a worker tells; None where it does not answer."""
        if report is None or not report.takes_calls:
            self._entries.pop(name, None)
        else:
            self._entries[name] = _Entry(report.free, report.sessions)

    def gave(self, name: str) -> None:
        """Enter that a worker was given a call."""
        if entry := self._entries.get(name):
            entry.free -= 1
            entry.sessions += 1

    def failed(self, name: str) -> None:
        """Enter that a worker has none free, or does not answer; until it tells anew."""
        if entry := self._entries.get(name):
            entry.free = 0

    def keep_only(self, names: set[str]) -> None:
        """Forget all others."""
        self._entries = {name: entry for name, entry in self._entries.items() if name in names}

    def best(self) -> str | None:
        """Name the worker with the fewest calls of those that have a session free; None where none has."""
        free = [
            (entry.sessions, -entry.free, name) for name, entry in self._entries.items() if entry.free > 0
        ]
        return min(free)[2] if free else None
