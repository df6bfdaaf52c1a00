"""What the manager knows of its workers; which to start and which to drain. Pure.

An update is a new generation: its workers are started beside the old ones, and each that is ready lets one
old worker go. So there are never fewer that take calls than are wanted, as long as the machines hold both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from moshi_phone.cluster.worker_client import WorkerClient, WorkerReport

NO_PLACE_SECS = 120.0
"""A new worker for which Ray has found no machine by then gets that of an old one."""


class WorkerState(StrEnum):
    """The life of a worker: from the first to the third, and the fourth at any time."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    DEAD = "dead"


@dataclass(frozen=True)
class Member:
    """What is known of one worker.

    Attributes:
        number: its name's.
        generation: counts updates.
        state: where it is in its life; a dead one is being started again.
        sessions: that are taken.
        unplaced_s: for how long no machine has been found for it.
    """

    number: int
    generation: int
    state: WorkerState
    sessions: int = 0
    unplaced_s: float = 0.0


@dataclass(frozen=True)
class Plan:
    """What is to be done: the numbers of workers to start, and of those to drain."""

    start: tuple[int, ...] = ()
    drain: tuple[int, ...] = ()


def plan(members: Sequence[Member], wanted: int, generation: int) -> Plan:
    """Say what leads from what is there to what is wanted.

    Args:
        members: all there are, those that drain among them: their numbers are taken.
        wanted: how many of the present generation there should be.
        generation: the present one.
    """
    staying = [one for one in members if one.state is not WorkerState.DRAINING]
    present = [one for one in staying if one.generation == generation]
    old = [one for one in staying if one.generation != generation]
    ready = sum(one.state is WorkerState.READY for one in present)
    without_place = sum(one.unplaced_s >= NO_PLACE_SECS for one in present)
    start = _free_numbers({one.number for one in members}, max(0, wanted - len(present)))
    leave = _first_to_go(present, len(present) - wanted)
    leave += _first_to_go(old, min(len(old), ready + without_place + len(old) - wanted))
    return Plan(start, leave)


def _first_to_go(members: Sequence[Member], count: int) -> tuple[int, ...]:
    """Choose those whose end is felt least: who takes no calls, then who has the fewest, then the last."""
    order = sorted(members, key=lambda one: (one.state is WorkerState.READY, one.sessions, -one.number))
    return tuple(one.number for one in order[: max(0, count)])


def _free_numbers(taken: set[int], count: int) -> tuple[int, ...]:
    """Give the lowest numbers that nobody has: DNS and proxies know a fixed set of names."""
    found: list[int] = []
    number = 1
    while len(found) < count:
        if number not in taken:
            found.append(number)
        number += 1
    return tuple(found)


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


def state_of(report: WorkerReport | None) -> WorkerState:
    """Say where in its life a worker is."""
    if report is None or report.over:
        return WorkerState.DEAD
    if report.closing:
        return WorkerState.DRAINING
    return WorkerState.READY if report.takes_calls else WorkerState.STARTING
