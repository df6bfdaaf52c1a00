"""The manager's records of its workers, and the plan of which to start and which to drain. Pure.

An update is a new generation. Its workers start alongside the old ones, and for each one that is ready an old
worker drains. So the number of workers that take calls never falls below the wanted number, as long as the
machines have room for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from moshi_phone.cluster.worker_client import WorkerClient, WorkerReport
from moshi_phone.server.web.server_status import Phase

NO_PLACE_SECS = 120.0
"""After this time without a machine for a new worker, an old worker drains to make room."""


class WorkerState(StrEnum):
    """A worker's state: from starting to ready to draining; dead at any time."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    DEAD = "dead"


@dataclass(frozen=True)
class Member:
    """The planner's view of one worker.

    Attributes:
        number: the number in its name.
        generation: the update that started it.
        state: its state; Ray restarts a dead one.
        sessions: number of sessions in use.
        unplaced_s: how long it has waited for a machine.
    """

    number: int
    generation: int
    state: WorkerState
    sessions: int = 0
    unplaced_s: float = 0.0


@dataclass(frozen=True)
class Plan:
    """The numbers of the workers to start, and of those to drain."""

    start: tuple[int, ...] = ()
    drain: tuple[int, ...] = ()


def plan(members: Sequence[Member], wanted: int, generation: int) -> Plan:
    """Plan the step from the present workers to the wanted ones.

    Args:
        members: all workers, including draining ones, whose numbers are in use.
        wanted: number of workers that the current generation should have.
        generation: the current generation.
    """
    staying = [one for one in members if one.state is not WorkerState.DRAINING]
    present = [one for one in staying if one.generation == generation]
    old = [one for one in staying if one.generation != generation]
    ready = sum(one.state is WorkerState.READY for one in present)
    without_place = sum(one.unplaced_s >= NO_PLACE_SECS for one in present)
    start = _free_numbers({one.number for one in members}, max(0, wanted - len(present)))
    leave = _first_to_go(present, len(present) - wanted)
    # Old workers fill up the wanted number until new ones are ready.
    leave += _first_to_go(old, min(len(old), ready + without_place + len(old) - wanted))
    return Plan(start, leave)


def _first_to_go(members: Sequence[Member], count: int) -> tuple[int, ...]:
    """Choose workers to drain: first those that take no calls, then the fewest calls, then the last."""
    order = sorted(members, key=lambda one: (one.state is WorkerState.READY, one.sessions, -one.number))
    return tuple(one.number for one in order[: max(0, count)])


def _free_numbers(taken: set[int], count: int) -> tuple[int, ...]:
    """Return the lowest unused numbers: DNS and proxies are configured for a fixed set of names."""
    found: list[int] = []
    number = 1
    while len(found) < count:
        if number not in taken:
            found.append(number)
        number += 1
    return tuple(found)


@dataclass
class ManagedWorker:
    """The manager's record of one worker.

    Attributes:
        number: 1 for w1.
        generation: the update that started it.
        handle: the runtime's handle of its process.
        client: sends requests to it.
        since_s: time of its start, monotonic.
        report: its last report; None while it does not answer.
        answered: whether it has ever answered.
        drained_s: time at which draining began, or None.
        failed_s: time at which its start was found to have failed, or None.
        adopted: whether an earlier command started it.
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
        """Its state, from the manager's records and its last report."""
        if self.drained_s is not None:
            return WorkerState.DRAINING
        if self.report is None:
            return WorkerState.DEAD if self.answered else WorkerState.STARTING
        return state_of(self.report)

    @property
    def is_closing(self) -> bool:
        """Whether its report confirms that it is draining or has ended."""
        return self.report is not None and (self.report.closing or self.report.over)

    def member(self, now_s: float) -> Member:
        """Return the planner's view of it."""
        sessions = self.report.sessions if self.report else 0
        # A worker answers as soon as its process runs, long before its model is loaded.
        unplaced_s = 0.0 if self.answered else now_s - self.since_s
        return Member(self.number, self.generation, self.state, sessions, unplaced_s)


def state_of(report: WorkerReport | None) -> WorkerState:
    """Return a worker's state from its report; None is dead."""
    if report is None or report.over:
        return WorkerState.DEAD
    if report.closing:
        return WorkerState.DRAINING
    # An overloaded worker is ready: it refuses calls for a moment, and need not be replaced or waited for.
    is_ready = report.status is not None and report.status.phase is Phase.READY
    return WorkerState.READY if is_ready else WorkerState.STARTING
