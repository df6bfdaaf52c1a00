"""What the manager knows of one worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from moshi_phone.cluster.aggregate import state_of
from moshi_phone.cluster.fleet import Member, WorkerState
from moshi_phone.cluster.worker_client import WorkerClient
from moshi_phone.cluster.worker_report import WorkerReport


@dataclass
class ManagedWorker:
    """What the manager knows of one worker.

    Attributes:
        number: w1's is 1.
        generation: counts updates.
        handle: leads to its process.
        client: asks it.
        since_s: when it was started, monotonic.
        report: what it last told; None where it does not answer.
        answered: whether it ever has.
        drained_s: since when it is to end, or None.
        failed_s: when it was found that it cannot start, or None.
        adopted: whether an earlier command has started it.
    """

    number: int
    generation: int
    handle: Any
    client: WorkerClient
    since_s: float
    report: WorkerReport | None = None
    answered: bool = False
    drained_s: float | None = None
    failed_s: float | None = None
    adopted: bool = False

    @property
    def state(self) -> WorkerState:
        """Where it is in its life."""
        if self.drained_s is not None:
            return WorkerState.DRAINING
        if self.report is None:
            return WorkerState.DEAD if self.answered else WorkerState.STARTING
        return state_of(self.report)

    @property
    def is_closing(self) -> bool:
        """Whether it knows that it is to end."""
        return self.report is not None and (self.report.closing or self.report.over)

    def member(self, now_s: float) -> Member:
        """Give what planning needs of it."""
        sessions = self.report.sessions if self.report else 0
        unplaced_s = 0.0 if self.answered else now_s - self.since_s
        return Member(self.number, self.generation, self.state, sessions, unplaced_s)
