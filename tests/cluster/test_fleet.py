"""cluster/fleet.py: which workers start, and which drain."""

from __future__ import annotations

import random
from dataclasses import replace

from moshi_phone.cluster.fleet import NO_PLACE_SECS, Member, Plan, WorkerState, plan, state_of
from moshi_phone.cluster.worker_client import WorkerReport
from moshi_phone.server.web.server_status import Phase, ServerStatus

STARTING, READY = WorkerState.STARTING, WorkerState.READY
DRAINING, DEAD = WorkerState.DRAINING, WorkerState.DEAD


def test_the_first_workers_have_the_lowest_numbers() -> None:
    assert plan([], 3, 1) == Plan(start=(1, 2, 3))


def test_enough_workers_need_no_action() -> None:
    members = [Member(1, 1, READY, 5), Member(2, 1, STARTING), Member(3, 1, DEAD)]
    assert plan(members, 3, 1) == Plan(), "the dead one is started again by Ray"


def test_excess_workers_drain() -> None:
    members = [Member(1, 1, READY, 5), Member(2, 1, READY, 2), Member(3, 1, READY, 2), Member(4, 1, STARTING)]
    assert plan(members, 3, 1) == Plan(drain=(4,)), "who takes no calls yet goes first"
    assert plan(members, 1, 1) == Plan(drain=(4, 3, 2)), "then who has the fewest calls"


def test_a_stopped_worker_s_number_is_reused() -> None:
    members = [Member(1, 1, DRAINING, 1), Member(3, 1, READY)]
    assert plan(members, 3, 1) == Plan(start=(2, 4))


def test_an_update_drains_one_old_worker_per_ready_new_one() -> None:
    old = [Member(1, 1, READY, 3), Member(2, 1, READY, 1)]
    assert plan(old, 2, 2) == Plan(start=(3, 4))
    assert plan([*old, Member(3, 2, STARTING), Member(4, 2, STARTING)], 2, 2) == Plan()
    assert plan([*old, Member(3, 2, READY), Member(4, 2, STARTING)], 2, 2) == Plan(drain=(2,))
    assert plan([*old, Member(3, 2, READY), Member(4, 2, READY)], 2, 2) == Plan(drain=(2, 1))


def test_without_room_for_a_new_worker_an_old_one_drains_first() -> None:
    old = [Member(1, 1, READY, 3), Member(2, 1, READY, 1)]
    waits = Member(3, 2, STARTING, unplaced_s=NO_PLACE_SECS)
    assert plan([*old, waits, Member(4, 2, STARTING, unplaced_s=5.0)], 2, 2) == Plan(drain=(2,))


def test_any_update_keeps_the_requested_number_of_workers() -> None:
    rng = random.Random(1)
    for _ in range(300):
        wanted = rng.randint(1, 5)
        members = [Member(n + 1, 1, READY, rng.randint(0, 3)) for n in range(wanted)]
        steps = 0
        while any(one.generation == 1 for one in members):
            todo = plan(members, wanted, 2)
            members += [Member(number, 2, STARTING) for number in todo.start]
            members = [replace(one, state=DRAINING) if one.number in todo.drain else one for one in members]
            assert sum(one.state is READY for one in members) >= wanted
            turn = rng.choice(members)  # one gets ready, or has its last call end
            if turn.state is STARTING:
                members[members.index(turn)] = Member(turn.number, 2, READY)
            elif turn.state is DRAINING:
                members.remove(turn)
            steps += 1
            assert steps < 1000
        assert len({one.number for one in members}) == len(members) >= wanted


def test_an_overloaded_worker_is_ready_and_takes_no_calls() -> None:
    """It used to count as starting, so an update waited for it."""
    report = WorkerReport("w1", status=ServerStatus(phase=Phase.READY, refusal="timers fire late"))
    assert (state_of(report), report.takes_calls, report.free) == (READY, False, 0)
    broken = WorkerReport("w1", status=ServerStatus(phase=Phase.ERROR, refusal="the model failed"))
    assert state_of(broken) is STARTING
