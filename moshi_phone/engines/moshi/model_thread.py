"""The one thread that owns the model, and the order of its jobs.

mlx's streams belong to threads, and an accelerator makes one step at a time anyway. So one thread does all
the work, first come, first served; waiting steps are combined (``step_batch.py``), and low-priority work
fills the pauses. Evaluated weights and KV rings may be used from another thread, so a thread that hangs is
abandoned, and a new one continues with the queue.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from moshi_phone.runtime.watchdog import LATE_S


def _no_time() -> float:
    return 0.0


class Batch(Protocol):
    """Combines several jobs into one piece of work."""

    def rows_for(self, waiting: int, room_s: float) -> int:
        """Return how many of the waiting jobs to combine within this time, at least one."""

    def run(self, parts: Sequence[Any]) -> None:
        """Do the work of all, given the results of their ``run``. One failure must not affect the others."""


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """Work for the model's thread.

    Attributes:
        run: the work; for a job of a batch, returns its part of the batch, or None if it no longer has one.
        failed: called with the reason if it raises, or if its thread is abandoned.
        owner: the owner of the work.
        patience_s: seconds after which it counts as hung.
        period_s: seconds until the owner's next such job is due; None if it is not one of a series.
        in_spare_time: whether it waits until there is no other work.
        needs_s: expected duration, for work in spare time: it does not start if a job of a series is due
            before its end.
        batch: combines the waiting jobs that have it, one of each owner.
    """

    run: Callable[[], object]
    failed: Callable[[BaseException], None]
    owner: object = None
    patience_s: float = math.inf
    period_s: float | None = None
    in_spare_time: bool = False
    needs_s: Callable[[], float] = _no_time
    batch: Batch | None = None


class JobQueue:
    """Jobs in the order of execution. Time is an argument, in seconds."""

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()  # in order of arrival
        # started only when the queue above is empty and no job of a series is due
        self._spare: deque[Job] = deque()
        self._due: dict[int, tuple[float, float]] = {}  # by owner: next due, and when given up

    def __len__(self) -> int:
        """Number of waiting jobs."""
        return len(self._jobs) + len(self._spare)

    def put(self, job: Job, now_s: float) -> None:
        """Add a job."""
        if job.in_spare_time:
            self._spare.append(job)
            return
        self._jobs.append(job)
        if job.period_s is not None:
            due_s = now_s + job.period_s
            self._due[id(job.owner)] = (due_s, due_s + job.period_s)

    def take(self, now_s: float, *, ending: bool = False) -> list[Job]:
        """Remove and return the jobs to run now: one, or several of a batch; empty if there is nothing to do.

        Args:
            now_s: the time.
            ending: whether spare-time work no longer waits.
        """
        if self._jobs:
            return _take_with(self._jobs[0], self._jobs, math.inf)
        room_s = math.inf if ending else self._room_s(now_s)
        for job in self._spare:
            if job.needs_s() <= room_s:
                return _take_with(job, self._spare, room_s)
        return []

    def wait_s(self, now_s: float) -> float | None:
        """Return the seconds until the next look at the queue; None if only a new job changes anything."""
        if not self._spare or not self._due:
            return None
        return max(0.0, min(given_up_s for _, given_up_s in self._due.values()) - now_s)

    def _room_s(self, now_s: float) -> float:
        """Seconds until a job of a series is due; overdue ones are no longer expected."""
        self._due = {owner: times for owner, times in self._due.items() if times[1] > now_s}
        return min((due_s - now_s for due_s, _ in self._due.values()), default=math.inf)


def _take_with(first: Job, jobs: deque[Job], room_s: float) -> list[Job]:
    """Remove a job, and those of its batch to combine with it: the next one of each other owner."""
    taken = [first]
    if first.batch is not None:
        # Reversed, so that the oldest job of each owner wins: a call's frames stay in order.
        by_owner = {id(job.owner): job for job in reversed(jobs) if job.batch is first.batch}
        others = [job for job in jobs if job is by_owner.get(id(job.owner)) and job.owner is not first.owner]
        taken += others[: first.batch.rows_for(1 + len(others), room_s) - 1]
    for job in taken:
        jobs.remove(job)
    return taken


T = TypeVar("T")

STOP_PATIENCE_S = 4.0  # after its drain, the program must end within five seconds of SIGTERM


class ModelThread:
    """Runs jobs in order. The sessions bound how many jobs they submit.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock  # a test's own clock decides what counts as hung
        self._jobs = JobQueue()  # guarded by the lock, like everything below
        self._stopping = False  # the thread ends once the queue is empty
        self._lock = threading.Condition()  # notified when a job is added
        self._current: list[Job] = []  # the running jobs: one, or a batch
        self._since = 0.0  # when they began
        self._looked_s = 0.0  # when a hang was last checked for
        self._is_extended = False  # whether the running jobs have had one more period
        self._generation = 0  # of the current thread: an abandoned thread has an older one, and stops
        self._resting = threading.Event()  # set when the last thread has emptied the queue
        self._start_thread()

    def submit(self, job: Job) -> None:
        """Queue a job. Does not block."""
        with self._lock:
            self._jobs.put(job, self._clock())
            self._lock.notify()

    def call(self, work: Callable[[], T]) -> Future[T]:
        """Run a function in the thread, and return a future. Once it runs, it cannot be cancelled."""
        result: Future[T] = Future()

        def run() -> None:
            # Without this, a waiter could cancel it in mid-run, and setting the result would raise.
            if result.set_running_or_notify_cancel():
                result.set_result(work())

        self.submit(Job(run, result.set_exception))
        return result

    def abandon_if_hung(self, owner: object = None, patience_s: float = math.inf) -> bool:
        """Abandon the thread if its job hangs, and continue with the next job in a new one.

        Args:
            owner: only if all of the current work is this owner's.
            patience_s: upper bound of the jobs' own patience.

        Returns:
            Whether the thread was abandoned.
        """
        with self._lock:
            jobs, now_s = self._current, self._clock()
            late_s, self._looked_s = now_s - max(self._looked_s, self._since), now_s
            if not jobs or (owner is not None and any(job.owner is not owner for job in jobs)):
                return False
            patience_s = min(patience_s, *(job.patience_s for job in jobs))
            if now_s - self._since < patience_s:
                return False
            if late_s > LATE_S and not self._is_extended:
                # Calls check with every frame; a longer gap means that the whole process was suspended.
                self._since, self._is_extended = now_s, True
                return False
            self._current = []
            self._generation += 1
            self._start_thread()
        for job in jobs:  # all of them: they are one step, and which one hangs is unknown
            job.failed(TimeoutError(f"a step took more than {patience_s:g} s"))
        return True

    def stop(self, patience_s: float = STOP_PATIENCE_S) -> None:
        """Park the thread for ever after the jobs in the queue, and wait until it is parked.

        It must not end: when a thread that has used mlx ends at the same time as the program, mlx calls into
        the interpreter once more, and the program aborts (seen with mlx 0.32.4, one time in six).
        """
        with self._lock:
            self._stopping = True
            self._lock.notify_all()
        self._resting.wait(patience_s)

    def _start_thread(self) -> None:
        # A daemon, so that an abandoned thread cannot keep the program from ending.
        threading.Thread(
            target=self._live, args=(self._generation,), name=f"moshi-model-{self._generation}", daemon=True
        ).start()

    def _live(self, generation: int) -> None:
        self._work(generation)
        if generation == self._generation:
            self._resting.set()
        threading.Event().wait()

    def _next(self, generation: int) -> list[Job]:
        """Wait for jobs; return none when this thread is to end."""
        with self._lock:
            while generation == self._generation:
                now_s = self._clock()
                if jobs := self._jobs.take(now_s, ending=self._stopping):
                    self._current, self._since, self._is_extended = jobs, now_s, False
                    return jobs
                if self._stopping:
                    return []
                self._lock.wait(self._jobs.wait_s(now_s))
            return []

    def _work(self, generation: int) -> None:
        while jobs := self._next(generation):
            failures = _do(jobs)
            with self._lock:
                if generation != self._generation:
                    return  # another thread has replaced this one, and the jobs were reported as failed
                self._current = []
            _report(failures)
            del jobs, failures  # or the waiting thread would keep a session alive


def _do(jobs: Sequence[Job]) -> list[tuple[Job, BaseException]]:
    """Run one job, or several of a batch; return the exceptions."""
    failures: list[tuple[Job, BaseException]] = []
    parts = []
    for job in jobs:
        try:
            parts.append(job.run())
        except BaseException as error:
            failures.append((job, error))
    batch = jobs[0].batch
    # A batch reports failures of single parts itself; its own exceptions concern all parts.
    if batch is not None:
        try:
            batch.run([part for part in parts if part is not None])
        except BaseException as error:
            failures = [(job, error) for job in jobs]
    return failures


def _report(failures: Sequence[tuple[Job, BaseException]]) -> None:
    for job, error in failures:
        job.failed(error)
