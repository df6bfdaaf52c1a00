"""Which workers to start and which to drain. Pure.

An update is a new generation: its workers are started beside the old ones, and each that is ready lets one
old worker go. So there are never fewer that take calls than are wanted, as long as the machines hold both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

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
