"""A cluster in simulated time: random calls, failing workers, and updates. Pure.

The number of workers, and which ones start and drain, follow from the product's own rules
(``cluster/autoscaling.py``, ``cluster/fleet.py``); callers and failures are simulated.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.cluster_conditions import HOUR_S, Conditions, Outcome
from moshi_phone.cluster.autoscaling import Autoscaler
from moshi_phone.cluster.fleet import Member, WorkerState, plan

DAY_S = 24 * HOUR_S


LOOK_S = 1.0  # how often the manager looks


WARM_UP_S = HOUR_S  # not counted: the simulation starts without calls


_SIGMA = 1.0  # standard deviation of a length's logarithm, for lognormal lengths


Policy = Callable[[int, int, float], int]


@dataclass(eq=False)
class _Worker:
    number: int
    generation: int
    state: WorkerState = WorkerState.STARTING
    sessions: int = 0
    life: int = 0  # counts its restarts: events of an earlier life are ignored
    unplaced_since_s: float | None = None


class SimulatedCluster:
    """One simulated cluster, which starts without calls.

    Args:
        conditions: load, failures and updates.
        policy: the required number of workers.
    """

    def __init__(self, conditions: Conditions, policy: Policy) -> None:
        self.conditions = conditions
        self.outcome = Outcome()
        self._policy = policy
        seed = conditions.seed
        # One for each purpose, so that the calls are the same, whatever fails.
        self._arrivals, self._lengths, self._failures = (random.Random(f"{seed} {what}") for what in "alf")
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = itertools.count()
        self._workers: list[_Worker] = []
        self._staying: list[_Worker] = []  # workers that do not drain
        self._taken = 0  # taken sessions of those workers
        self._settled = True  # whether all of them are of the current version
        self._generation = 0
        self._paid_s = 0.0  # sessions × seconds
        self._paid_until_s = 0.0

    def run(self) -> Outcome:
        """Run the simulation."""
        conditions = self.conditions
        load = conditions.load * (1 - conditions.swing)  # a day begins at night
        capacity = conditions.capacity_each
        for number in range(1, self._policy(round(load), capacity, 0.0) + 1):
            self._ready(self._add(number), 0.0)
        self._recount()
        self._next_arrival(0.0)
        self._at(LOOK_S, self._look)
        if conditions.update_hours < math.inf:
            self._at(conditions.update_hours * HOUR_S, self._update)
        end_s = WARM_UP_S + conditions.days * DAY_S
        while self._events[0][0] < end_s:
            now_s, _, happen = heapq.heappop(self._events)
            happen(now_s)
        self._pay(end_s)
        self.outcome.mean_sessions = self._paid_s / (end_s - WARM_UP_S)
        return self.outcome

    def _at(self, when_s: float, happen: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (when_s, next(self._order), happen))

    def _at_in_this_life(
        self, worker: _Worker, when_s: float, happen: Callable[[_Worker, float], None]
    ) -> None:
        life = worker.life
        self._at(when_s, lambda now_s: happen(worker, now_s) if worker.life == life else None)

    def _next_arrival(self, now_s: float) -> None:
        conditions = self.conditions
        busiest = conditions.load * (1 + conditions.swing) / conditions.call_s
        self._at(now_s + self._arrivals.expovariate(busiest), self._arrive)

    def _arrive(self, now_s: float) -> None:
        self._next_arrival(now_s)
        conditions = self.conditions
        if conditions.swing:  # calls arrive at the busiest hour's rate, and some are dropped at other hours
            now = 1 - conditions.swing * math.cos(2 * math.pi * now_s / DAY_S)
            if self._arrivals.random() * (1 + conditions.swing) > now:
                return
        length_s = self._length_s()
        counts = now_s >= WARM_UP_S
        self.outcome.offered += counts
        free = [
            (one.sessions, one.number, one)
            for one in self._workers
            if one.state is WorkerState.READY and one.sessions < conditions.capacity_each
        ]
        if not free:
            self.outcome.refused += counts
            return
        worker = min(free)[2]
        worker.sessions += 1
        self._taken += 1
        self._at_in_this_life(worker, now_s + length_s, self._end)

    def _length_s(self) -> float:
        mean_s = self.conditions.call_s
        match self.conditions.lengths:
            case "exponential":
                return self._lengths.expovariate(1 / mean_s)
            case "lognormal":
                return self._lengths.lognormvariate(math.log(mean_s) - _SIGMA**2 / 2, _SIGMA)
            case "fixed":
                return mean_s

    def _end(self, worker: _Worker, now_s: float) -> None:
        worker.sessions -= 1
        self._taken -= worker.state is not WorkerState.DRAINING
        self._leave_if_done(worker, now_s)

    def _leave_if_done(self, worker: _Worker, now_s: float) -> None:
        if worker.state is WorkerState.DRAINING and worker.sessions == 0:
            self._pay(now_s)
            worker.life += 1
            self._workers.remove(worker)
            self._recount()
            self._place_the_next(now_s)

    def _look(self, now_s: float) -> None:
        self._at(now_s + LOOK_S, self._look)
        wanted = self._policy(self._taken, self.conditions.capacity_each, now_s)
        if self._settled and len(self._staying) == wanted:
            return  # a plan would have the same result, and planning takes most of the time
        what = plan([self._member(one, now_s) for one in self._workers], wanted, self._generation)
        self._pay(now_s)
        by_number = {one.number: one for one in self._workers}
        for number in what.drain:
            self._drain(by_number[number], now_s)
        for number in what.start:
            self._add(number).unplaced_since_s = now_s
        self._recount()
        self._place_the_next(now_s)

    def _member(self, worker: _Worker, now_s: float) -> Member:
        since_s = worker.unplaced_since_s
        unplaced_s = 0.0 if since_s is None else now_s - since_s
        return Member(worker.number, worker.generation, worker.state, worker.sessions, unplaced_s)

    def _add(self, number: int) -> _Worker:
        worker = _Worker(number, self._generation)
        self._workers.append(worker)
        return worker

    def _recount(self) -> None:
        self._staying = [one for one in self._workers if one.state is not WorkerState.DRAINING]
        self._taken = sum(one.sessions for one in self._staying)
        self._settled = all(one.generation == self._generation for one in self._staying)

    def _place_the_next(self, now_s: float) -> None:
        placed = sum(one.unplaced_since_s is None for one in self._workers)
        for worker in self._workers:
            if worker.unplaced_since_s is not None and placed < self.conditions.backends:
                worker.unplaced_since_s = None
                placed += 1
                self._start(worker, now_s)

    def _start(self, worker: _Worker, now_s: float) -> None:
        worker.state = WorkerState.STARTING
        self._at_in_this_life(worker, now_s + self.conditions.start_s, self._ready)

    def _ready(self, worker: _Worker, now_s: float) -> None:
        worker.state = WorkerState.READY
        if self.conditions.life_hours < math.inf:
            lives_s = self._failures.expovariate(1 / (self.conditions.life_hours * HOUR_S))
            self._at_in_this_life(worker, now_s + lives_s, self._die)

    def _die(self, worker: _Worker, now_s: float) -> None:
        self.outcome.failed += self._cut(worker, now_s)
        if worker.state is WorkerState.DRAINING:
            self._leave_if_done(worker, now_s)
        else:
            self._start(worker, now_s)

    def _drain(self, worker: _Worker, now_s: float) -> None:
        worker.state = WorkerState.DRAINING
        over_s = now_s + self.conditions.drain_s
        self._at_in_this_life(worker, over_s, self._hang_up)
        self._leave_if_done(worker, now_s)

    def _hang_up(self, worker: _Worker, now_s: float) -> None:
        self.outcome.hung_up += self._cut(worker, now_s)
        self._leave_if_done(worker, now_s)

    def _cut(self, worker: _Worker, now_s: float) -> int:
        """End a worker's calls; return the number of counted ones."""
        cut, worker.sessions = worker.sessions, 0
        worker.life += 1
        self._recount()
        return cut if now_s >= WARM_UP_S else 0

    def _update(self, now_s: float) -> None:
        self._generation += 1
        self._recount()
        self._at(now_s + self.conditions.update_hours * HOUR_S, self._update)

    def _pay(self, now_s: float) -> None:
        """Add the time since the last change to the counters."""
        secs = max(0.0, now_s - max(self._paid_until_s, WARM_UP_S))
        placed = sum(one.unplaced_since_s is None for one in self._workers)
        self._paid_s += secs * placed * self.conditions.capacity_each
        self._paid_until_s = now_s


def fixed(workers: int) -> Policy:
    """Always return the same number of workers."""
    return lambda *_: workers


def simulate(conditions: Conditions, policy: Policy) -> Outcome:
    """Simulate one cluster."""
    return SimulatedCluster(conditions, policy).run()


def autoscaled(conditions: Conditions, spare_calls: int) -> Outcome:
    """Simulate clusters with spare sessions, by the product's own rule."""
    return simulate(conditions, Autoscaler(spare_calls, 1, conditions.backends).wanted)
