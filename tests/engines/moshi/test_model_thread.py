"""Jobs run in order, errors go to their owners, and a hung thread is abandoned; in simulated time."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pytest

from moshi_phone.engines.moshi.model.language_model import LanguageSession
from moshi_phone.engines.moshi.model.sampling import GREEDY
from moshi_phone.engines.moshi.model_thread import Batch, Job, JobQueue, ModelThread
from tests.support.tiny_moshi import tiny_lm

WAIT_S = 30.0  # for events that are immediate on any machine


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def thread(clock: Clock) -> Iterator[ModelThread]:
    thread = ModelThread(clock)
    yield thread
    thread.stop()


class Hung:
    """A job that hangs until it is released."""

    def __init__(self, thread: ModelThread, patience_s: float = 3.0) -> None:
        self.entered, self.let_go, self.left = threading.Event(), threading.Event(), threading.Event()
        self.errors: list[BaseException] = []
        thread.submit(Job(self._run, self.errors.append, owner=self, patience_s=patience_s))
        assert self.entered.wait(WAIT_S)

    def _run(self) -> None:
        self.entered.set()
        self.let_go.wait(WAIT_S)
        self.left.set()


def test_runs_jobs_in_order_in_one_thread(thread: ModelThread) -> None:
    order: list[tuple[int, int]] = []
    errors: list[BaseException] = []

    def note(number: int) -> None:
        order.append((number, threading.get_ident()))

    for number in range(5):
        thread.submit(Job(partial(note, number), errors.append))
    thread.call(lambda: None).result(WAIT_S)
    assert [number for number, _ in order] == list(range(5))
    assert not errors
    assert len({ident for _, ident in order}) == 1
    assert order[0][1] != threading.get_ident()


def test_a_failing_job_is_reported_to_its_owner_and_the_next_runs(thread: ModelThread) -> None:
    errors: list[BaseException] = []
    thread.submit(Job(lambda: 1 // 0, errors.append))
    assert thread.call(lambda: "on").result(WAIT_S) == "on"
    assert [type(error) for error in errors] == [ZeroDivisionError]
    with pytest.raises(ZeroDivisionError):
        thread.call(lambda: 1 // 0).result(WAIT_S)


def test_a_cancelled_result_does_not_stop_the_thread(thread: ModelThread) -> None:
    entered, release = threading.Event(), threading.Event()

    def wait() -> None:
        entered.set()
        release.wait(WAIT_S)

    running = thread.call(wait)
    waiting = thread.call(lambda: pytest.fail("it was cancelled before it ran"))
    assert entered.wait(WAIT_S)
    assert not running.cancel()
    assert waiting.cancel()
    release.set()
    assert thread.call(lambda: "on").result(WAIT_S) == "on"


def test_a_hung_thread_is_abandoned(thread: ModelThread, clock: Clock) -> None:
    hung = Hung(thread)
    waiting = thread.call(threading.get_ident)
    clock.now_s = 2.9
    assert not thread.abandon_if_hung()
    clock.now_s = 3.0
    assert thread.abandon_if_hung()
    assert [str(error) for error in hung.errors] == ["a step took more than 3 s"]
    after = waiting.result(WAIT_S)  # the queue continues
    assert not thread.abandon_if_hung()
    hung.let_go.set()
    assert hung.left.wait(WAIT_S)
    assert thread.call(threading.get_ident).result(WAIT_S) == after, "the hung thread must not come back"
    assert len(hung.errors) == 1


def test_one_owner_may_have_a_shorter_timeout(thread: ModelThread, clock: Clock) -> None:
    hung = Hung(thread)
    clock.now_s = 0.9
    assert not thread.abandon_if_hung(owner=hung, patience_s=1.0)
    clock.now_s = 1.5
    assert not thread.abandon_if_hung(owner=object(), patience_s=1.0)
    assert thread.abandon_if_hung(owner=hung, patience_s=1.0)
    hung.let_go.set()


def test_a_job_gets_one_more_period_after_a_freeze(thread: ModelThread, clock: Clock) -> None:
    hung = Hung(thread)
    clock.now_s = 0.08
    assert not thread.abandon_if_hung()
    clock.now_s = 12.0  # no check for that long: the process was frozen
    assert not thread.abandon_if_hung()
    clock.now_s = 14.9
    assert not thread.abandon_if_hung()
    clock.now_s = 15.0
    assert thread.abandon_if_hung()
    hung.let_go.set()


def test_no_job_gets_two_more_periods(thread: ModelThread, clock: Clock) -> None:
    hung = Hung(thread)
    clock.now_s = 12.0
    assert not thread.abandon_if_hung()
    clock.now_s = 24.0
    assert thread.abandon_if_hung()
    hung.let_go.set()


def test_work_without_an_owner_has_no_timeout(thread: ModelThread, clock: Clock) -> None:
    release = threading.Event()
    result = thread.call(lambda: release.wait(WAIT_S))
    clock.now_s = 1e9
    assert not thread.abandon_if_hung()
    release.set()
    assert result.result(WAIT_S)


def test_another_thread_can_use_the_weights(thread: ModelThread, clock: Clock) -> None:
    """Abandoning a thread relies on this: evaluated arrays belong to no thread."""

    def words(session: LanguageSession) -> list[int]:
        return [session.step(frame).text_token for frame in frames]

    model = thread.call(lambda: tiny_lm(dim=32, layers=1, card=16, codebooks=2, context=8)).result(WAIT_S)
    frames = [np.array([number, number], np.uint32) for number in range(6)]
    session = thread.call(lambda: LanguageSession(model, GREEDY, 0)).result(WAIT_S)
    before = thread.call(lambda: words(session)).result(WAIT_S)
    hung = Hung(thread)
    clock.now_s = 2.9
    assert not thread.abandon_if_hung()
    clock.now_s = 3.0
    assert thread.abandon_if_hung()
    again = thread.call(lambda: LanguageSession(model, GREEDY, 0)).result(WAIT_S)
    assert thread.call(lambda: words(again)).result(WAIT_S) == before
    assert len(thread.call(lambda: words(session)).result(WAIT_S)) == len(frames)  # a session may move, too
    hung.let_go.set()


def test_spare_time_jobs_run_when_the_queue_is_empty(thread: ModelThread) -> None:
    blocked, order = threading.Event(), list[str]()
    thread.call(partial(blocked.wait, WAIT_S))
    for name in ("listen 1", "speak 1", "listen 2", "speak 2"):
        note = partial(order.append, name)
        thread.submit(Job(note, errors_are_unexpected, in_spare_time=name.startswith("listen")))
    blocked.set()
    thread.stop()  # rests only when all is done
    assert order == ["speak 1", "speak 2", "listen 1", "listen 2"]


def errors_are_unexpected(error: BaseException) -> None:
    raise AssertionError from error


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
    while taken := jobs.take(now_s):
        for one in taken:
            one.run()
    return order


def test_jobs_run_in_order_and_spare_time_jobs_last() -> None:
    jobs, order = JobQueue(), list[str]()
    for name in ("listen 1", "speak 1", "listen 2", "speak 2"):
        jobs.put(job(name, order, spare=name.startswith("listen")), 0.0)
    assert len(jobs) == 4
    assert drain(jobs, 0.0, order) == ["speak 1", "speak 2", "listen 1", "listen 2"]
    assert not jobs.take(0.0)
    assert jobs.wait_s(0.0) is None


def test_a_spare_time_job_that_would_end_late_is_not_started() -> None:
    jobs, order, call = JobQueue(), list[str](), object()
    jobs.put(job("speak", order, owner=call, period_s=FRAME_S), 1.0)
    jobs.put(job("long", order, spare=True, needs_s=0.06), 1.0)
    jobs.put(job("short", order, spare=True, needs_s=0.01), 1.0)
    assert drain(jobs, 1.03, order) == ["speak", "short"]
    assert jobs.wait_s(1.03) == pytest.approx(0.13), "until nobody waits for the next frame any more"
    jobs.put(job("speak again", order, owner=call, period_s=FRAME_S), 1.08)
    assert drain(jobs, 1.09, order)[2:] == ["speak again", "long"]


def test_a_silent_call_does_not_hold_up_spare_time_jobs() -> None:
    jobs, order = JobQueue(), list[str]()
    jobs.put(job("speak", order, owner=object(), period_s=FRAME_S), 0.0)
    jobs.put(job("long", order, spare=True, needs_s=1.0), 0.0)
    assert drain(jobs, 0.159, order) == ["speak"]
    assert drain(jobs, 0.161, order) == ["speak", "long"]


def test_at_the_end_spare_time_jobs_are_released() -> None:
    jobs = JobQueue()
    jobs.put(job("speak", owner=object(), period_s=FRAME_S), 0.0)
    jobs.put(job("long", spare=True, needs_s=1.0), 0.0)
    assert jobs.take(0.0)
    assert not jobs.take(0.0)
    assert jobs.take(0.0, ending=True)


class Together:
    """A batch of limited size."""

    def __init__(self, most: int = 64) -> None:
        self.most = most
        self.runs: list[list[object]] = []

    def rows_for(self, waiting: int, room_s: float) -> int:
        return min(waiting, self.most) if room_s > 0.01 else 1

    def run(self, parts: Sequence[object]) -> None:
        self.runs.append(list(parts))


def part(batch: Batch, owner: object, name: str, *, spare: bool = False) -> Job:
    return Job(lambda: name, errors_are_unexpected, owner, in_spare_time=spare, batch=batch)


def names(jobs: JobQueue, now_s: float = 0.0) -> list[list[object]]:
    found = []
    while taken := jobs.take(now_s):
        found.append([one.run() for one in taken])
    return found


def test_a_batch_takes_one_waiting_job_of_each_owner() -> None:
    jobs, batch, other = JobQueue(), Together(), Together()
    owners = [object() for _ in range(3)]
    jobs.put(part(batch, owners[0], "a1"), 0.0)
    jobs.put(job("begin", []), 0.0)
    jobs.put(part(batch, owners[1], "b1"), 0.0)
    jobs.put(part(batch, owners[0], "a2"), 0.0)
    jobs.put(part(other, owners[1], "listen"), 0.0)
    jobs.put(part(batch, owners[2], "c1"), 0.0)
    assert names(jobs) == [["a1", "b1", "c1"], [None], ["a2"], ["listen"]]


def test_a_batch_respects_its_maximum() -> None:
    jobs, batch = JobQueue(), Together(most=2)
    for number in range(5):
        jobs.put(part(batch, object(), str(number)), 0.0)
    assert names(jobs) == [["0", "1"], ["2", "3"], ["4"]]


def test_a_spare_time_batch_fits_into_the_available_time() -> None:
    jobs, batch, call = JobQueue(), Together(), object()
    for number in range(3):
        jobs.put(part(batch, object(), str(number), spare=True), 0.0)
    jobs.put(job("speak", [], owner=call, period_s=FRAME_S), 0.0)
    assert jobs.take(0.0)[0].owner is call
    assert len(jobs.take(0.075)) == 1, "5 ms are left"
    assert len(jobs.take(0.010)) == 2


def test_a_failing_job_of_a_batch_fails_alone(thread: ModelThread) -> None:
    batch, errors, blocked = Together(), list[BaseException](), threading.Event()
    thread.call(partial(blocked.wait, WAIT_S))
    thread.submit(part(batch, object(), "a"))
    thread.submit(Job(lambda: 1 // 0, errors.append, object(), batch=batch))
    thread.submit(Job(lambda: None, errors_are_unexpected, object(), batch=batch))  # has ended meanwhile
    thread.submit(part(batch, object(), "b"))
    blocked.set()
    thread.call(lambda: None).result(WAIT_S)
    assert batch.runs == [["a", "b"]]
    assert [type(error) for error in errors] == [ZeroDivisionError]


def test_a_batch_that_raises_or_hangs_fails_for_all(thread: ModelThread, clock: Clock) -> None:
    class Broken(Together):
        def run(self, parts: Sequence[object]) -> None:
            entered.set()
            let_go.wait(WAIT_S)
            raise MemoryError

    entered, let_go, blocked = threading.Event(), threading.Event(), threading.Event()
    batch, errors, owners = Broken(), list[BaseException](), [object(), object()]
    for is_hung in (False, True):
        errors.clear()
        entered.clear()
        blocked.clear()
        let_go.clear() if is_hung else let_go.set()
        thread.call(partial(blocked.wait, WAIT_S))
        for owner in owners:
            thread.submit(Job(lambda: "part", errors.append, owner, patience_s=3.0, batch=batch))
        blocked.set()
        assert entered.wait(WAIT_S)
        if is_hung:
            clock.now_s += 2.0
            assert not thread.abandon_if_hung(owners[0], 1.0), "the other call is not hung up for this one"
            clock.now_s += 1.0
            assert thread.abandon_if_hung()
        else:
            thread.call(lambda: None).result(WAIT_S)
        assert len(errors) == 2
        assert isinstance(errors[0], TimeoutError if is_hung else MemoryError)
    let_go.set()


@dataclass
class Simulation:
    """Calls at the pace of speech through one thread; every job takes exactly its given time."""

    calls: int
    speak_s: float
    listen_s: float | None
    batch: Batch | None = None
    row_s: float = 0.0  # that each further row adds to a step
    apart_s: float = 0.011  # between the frames of two calls
    answers_s: list[float] = field(default_factory=list[float])
    listened: int = 0

    def run(self, frames: int = 100) -> Simulation:
        jobs, free_s = JobQueue(), 0.0
        owners = [object() for _ in range(self.calls)]
        arrivals = [
            (frame * FRAME_S + self.apart_s * call, call)
            for call, frame in itertools.product(range(self.calls), range(frames))
        ]
        heapq.heapify(arrivals)
        now_s = 0.0
        costs: dict[Job, tuple[float, Callable[[float], None]]] = {}
        while arrivals or len(jobs):
            while arrivals and arrivals[0][0] <= now_s + 1e-9:
                self._arrive(jobs, costs, owners, *heapq.heappop(arrivals))
            taken = jobs.take(now_s, ending=not arrivals)
            if not taken:
                now_s = arrivals[0][0] if arrivals else now_s + FRAME_S
                continue
            all_costs = [costs.pop(one) for one in taken]
            now_s = free_s = now_s + all_costs[0][0] + self.row_s * (len(taken) - 1)
            for _, done in all_costs:
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

        speaking = Job(lambda: None, errors_are_unexpected, owners[call], period_s=FRAME_S, batch=self.batch)
        costs[speaking] = (self.speak_s, answered)
        jobs.put(speaking, at_s)


@pytest.mark.parametrize("apart_s", [0.0, 0.007, 0.011, 0.019, 0.08 / 6])
def test_in_a_batch_a_frame_waits_for_the_current_step_at_most(apart_s: float) -> None:
    """Six calls of 20 ms a step: one by one, they take 120 ms for each 80 ms of speech."""
    in_turn = Simulation(6, 0.020, None, apart_s=apart_s).run()
    assert max(in_turn.answers_s) > 1.0
    together = Simulation(6, 0.020, None, Together(), row_s=0.003, apart_s=apart_s).run()
    longest_step_s = 0.020 + 5 * 0.003
    assert max(together.answers_s) <= 2 * longest_step_s
    assert len(together.answers_s) == 600


def test_a_batch_of_one_call_changes_nothing() -> None:
    in_turn, together = (Simulation(1, 0.030, 0.008, batch).run() for batch in (None, Together()))
    assert together.answers_s == in_turn.answers_s
    assert together.listened == in_turn.listened == 100


@pytest.mark.parametrize(
    ("calls", "speak_s", "listen_s"), [(1, 0.030, 0.008), (1, 0.075, 0.004), (3, 0.011, 0.009)]
)
def test_listening_that_fits_delays_no_answer_and_skips_nothing(
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
