"""What a worker tells of itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class WorkerReport:
    """What a worker tells of itself.

    Attributes:
        name: w1, w2, ….
        url: its public URL, or None while there is none.
        loaded: whether its engine and its URL are there.
        closing: whether it takes no new calls, and ends with its last.
        over: whether it has ended; its process can go.
        failure: one sentence, where it could not start.
        capacity: how many sessions it has.
        sessions: how many are taken, reserved ones among them.
        health: what its ``/healthz`` says.
    """

    name: str
    url: str | None = None
    loaded: bool = False
    closing: bool = False
    over: bool = False
    failure: str | None = None
    capacity: int = 0
    sessions: int = 0
    health: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def takes_calls(self) -> bool:
        """Whether it takes new calls, as far as sessions are free."""
        return self.loaded and not self.closing and not self.over and bool(self.health.get("ready"))

    @property
    def free(self) -> int:
        """How many sessions are free for new calls."""
        return max(0, self.capacity - self.sessions) if self.takes_calls else 0
