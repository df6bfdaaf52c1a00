"""Whose turn it is in the model's thread, in simulated time."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from moshi_phone.engines.moshi.job_queue import Job, JobQueue

FRAME_S = 0.08


def job(
    name: str,
    order: list[str] | None = None,
    *,
    owner: object = None,
    period_s: float | None = None,
    spare: bool = False,
    needs_s: float = 0.0,
) -> Job:
    def run() -> None:
        if order is not None:
            order.append(name)

    def needs() -> float:
        return needs_s

    return Job(run, lambda _: None, owner, period_s=period_s, in_spare_time=spare, needs_s=needs)


def drain(jobs: JobQueue, now_s: float, order: list[str]) -> list[str]:
    while (one := jobs.take(now_s)) is not None:
        one.run()
    return order


def test_first_come_first_served_and_what_can_wait_comes_last() -> None:
    jobs, order = JobQueue(), list[str]()
    for name in ("listen 1", "speak 1", "listen 2", "speak 2"):
        jobs.put(job(name, order, spare=name.startswith("listen")), 0.0)
    assert len(jobs) == 4
    assert drain(jobs, 0.0, order) == ["speak 1", "speak 2", "listen 1", "listen 2"]
    assert jobs.take(0.0) is None
    assert jobs.wait_s(0.0) is None


def test_what_would_not_be_over_in_time_is_not_begun() -> None:
    jobs, order, call = JobQueue(), list[str](), object()
    jobs.put(job("speak", order, owner=call, period_s=FRAME_S), 1.0)
    jobs.put(job("long", order, spare=True, needs_s=0.06), 1.0)
    jobs.put(job("short", order, spare=True, needs_s=0.01), 1.0)
    assert drain(jobs, 1.03, order) == ["speak", "short"]
    assert jobs.wait_s(1.03) == pytest.approx(0.13), "until nobody waits for the next frame any more"
    jobs.put(job("speak again", order, owner=call, period_s=FRAME_S), 1.08)
    assert drain(jobs, 1.09, order)[2:] == ["speak again", "long"]


def test_a_call_that_has_fallen_silent_holds_nothing_up() -> None:
    jobs, order = JobQueue(), list[str]()
    jobs.put(job("speak", order, owner=object(), period_s=FRAME_S), 0.0)
    jobs.put(job("long", order, spare=True, needs_s=1.0), 0.0)
    assert drain(jobs, 0.159, order) == ["speak"]
    assert drain(jobs, 0.161, order) == ["speak", "long"]


def test_at_the_end_nothing_waits() -> None:
    jobs = JobQueue()
    jobs.put(job("speak", owner=object(), period_s=FRAME_S), 0.0)
    jobs.put(job("long", spare=True, needs_s=1.0), 0.0)
    assert jobs.take(0.0) is not None
    assert jobs.take(0.0) is None
    assert jobs.take(0.0, ending=True) is not None


@dataclass
class Simulation:
    """Calls at the pace of speech through one thread; every job takes exactly as long as it says."""

    calls: int
    speak_s: float
    listen_s: float | None
    answers_s: list[float] = field(default_factory=list[float])
    listened: int = 0

    def run(self, frames: int = 100) -> Simulation:
        jobs, free_s = JobQueue(), 0.0
        owners = [object() for _ in range(self.calls)]
        arrivals = [
            (frame * FRAME_S + 0.011 * call, call)
            for call, frame in itertools.product(range(self.calls), range(frames))
        ]
        heapq.heapify(arrivals)
        now_s = 0.0
        costs: dict[Job, tuple[float, Callable[[float], None]]] = {}
        while arrivals or len(jobs):
            while arrivals and arrivals[0][0] <= now_s + 1e-9:
                self._arrive(jobs, costs, owners, *heapq.heappop(arrivals))
            one = jobs.take(now_s, ending=not arrivals)
            if one is None:
                now_s = arrivals[0][0] if arrivals else now_s + FRAME_S
                continue
            cost_s, done = costs.pop(one)
            now_s = free_s = now_s + cost_s
            done(free_s)
        return self

    def _arrive(
        self,
        jobs: JobQueue,
        costs: dict[Job, tuple[float, Callable[[float], None]]],
        owners: list[object],
        at_s: float,
        call: int,
    ) -> None:
        def answered(now_s: float) -> None:
            self.answers_s.append(now_s - at_s)
            if self.listen_s is not None:
                listening = job("listen", spare=True, needs_s=self.listen_s)
                costs[listening] = (self.listen_s, heard)
                jobs.put(listening, now_s)

        def heard(_: float) -> None:
            self.listened += 1

        speaking = job("speak", owner=owners[call], period_s=FRAME_S)
        costs[speaking] = (self.speak_s, answered)
        jobs.put(speaking, at_s)


@pytest.mark.parametrize(
    ("calls", "speak_s", "listen_s"), [(1, 0.030, 0.008), (1, 0.075, 0.004), (3, 0.011, 0.009)]
)
def test_listening_that_fits_delays_no_answer_and_hears_everything(
    calls: int, speak_s: float, listen_s: float
) -> None:
    plain = Simulation(calls, speak_s, None).run()
    listening = Simulation(calls, speak_s, listen_s).run()
    assert listening.answers_s == pytest.approx(plain.answers_s)
    assert listening.listened == 100 * calls


@pytest.mark.parametrize(("calls", "speak_s", "listen_s"), [(1, 0.060, 0.030), (2, 0.036, 0.020)])
def test_listening_that_does_not_fit_delays_no_answer_either(
    calls: int, speak_s: float, listen_s: float
) -> None:
    plain = Simulation(calls, speak_s, None).run()
    listening = Simulation(calls, speak_s, listen_s).run()
    assert listening.answers_s == pytest.approx(plain.answers_s)
