"""The one thread that owns the model, and the order of its jobs.

mlx's streams belong to threads, and one accelerator steps one session at a time anyway: so all sessions
take turns in one thread, first come, first served; what can wait is done in the pauses (``job_queue.py``).
Evaluated weights and KV rings may be used from another thread, so a thread that hangs is left behind and a
new one goes on with the queue.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar


def _no_time() -> float:
    return 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """Work for the model's thread.

    Attributes:
        run: the work.
        failed: called with the reason when it raised, or when its thread was given up.
        owner: whose work it is.
        patience_s: after how many seconds it counts as hung.
        period_s: after so many seconds the owner's next job like this one is due; None where it is not one
            of a series.
        in_spare_time: whether it waits until there is no other work.
        needs_s: how long it will take, of those that wait for spare time: it is not begun when a job of a
            series is due before that.
    """

    run: Callable[[], None]
    failed: Callable[[BaseException], None]
    owner: object = None
    patience_s: float = math.inf
    period_s: float | None = None
    in_spare_time: bool = False
    needs_s: Callable[[], float] = _no_time


class JobQueue:
    """Jobs in the order in which they are to be done. Time comes in as an argument, in seconds."""

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()
        self._spare: deque[Job] = deque()
        self._due: dict[int, tuple[float, float]] = {}  # by owner: when its next is due, and when given up

    def __len__(self) -> int:
        """How many jobs wait."""
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

    def take(self, now_s: float, *, ending: bool = False) -> Job | None:
        """Take out the job that is to be done now; None where there is nothing to do yet.

        Args:
            now_s: the time.
            ending: whether what waits for spare time need not wait any more.
        """
        if self._jobs:
            return self._jobs.popleft()
        room_s = math.inf if ending else self._room_s(now_s)
        for job in self._spare:
            if job.needs_s() <= room_s:
                self._spare.remove(job)
                return job
        return None

    def wait_s(self, now_s: float) -> float | None:
        """Tell when to look again even if no job is added; None where only that can change anything."""
        if not self._spare or not self._due:
            return None
        return max(0.0, min(given_up_s for _, given_up_s in self._due.values()) - now_s)

    def _room_s(self, now_s: float) -> float:
        """How much time there is until a job of a series is due; those that stay away are given up."""
        self._due = {owner: times for owner, times in self._due.items() if times[1] > now_s}
        return min((due_s - now_s for due_s, _ in self._due.values()), default=math.inf)


__all__ = ["Job", "ModelThread"]

T = TypeVar("T")

STOP_PATIENCE_S = 4.0  # SIGTERM is to end the program within five seconds of its drain


class ModelThread:
    """Runs jobs in order. The queue holds what the sessions' own bounds let them submit.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._jobs = JobQueue()
        self._stopping = False
        self._lock = threading.Condition()
        self._current: Job | None = None
        self._since = 0.0
        self._generation = 0
        self._resting = threading.Event()
        self._start_thread()

    def submit(self, job: Job) -> None:
        """Put a job into the queue. Returns at once."""
        with self._lock:
            self._jobs.put(job, self._clock())
            self._lock.notify()

    def call(self, work: Callable[[], T]) -> Future[T]:
        """Run a function there and give its result. Once it runs, it can't be cancelled any more."""
        result: Future[T] = Future()

        def run() -> None:
            # Without this, whoever waits could cancel it in mid-run; a cancelled future takes no result.
            if result.set_running_or_notify_cancel():
                result.set_result(work())

        self.submit(Job(run, result.set_exception))
        return result

    def abandon_if_hung(self, owner: object = None, patience_s: float = math.inf) -> bool:
        """Give up the thread if its job hangs, and go on with the next job in a new one.

        Args:
            owner: give it up only if the job is this owner's.
            patience_s: where the job's own patience is longer than this, this counts.

        Returns:
            Whether the thread was given up.
        """
        with self._lock:
            job = self._current
            if job is None or (owner is not None and job.owner is not owner):
                return False
            patience_s = min(patience_s, job.patience_s)
            if self._clock() - self._since < patience_s:
                return False
            self._current = None
            self._generation += 1
            self._start_thread()
        job.failed(TimeoutError(f"a step took more than {patience_s:g} s"))
        return True

    def stop(self, patience_s: float = STOP_PATIENCE_S) -> None:
        """Let the thread rest for ever after the jobs that are in the queue, and wait until it does.

        It must not end: when a thread that has used mlx ends at the same time as the program, mlx asks for
        the interpreter once more, and the program is aborted (seen with mlx 0.32.4, one time in six).
        """
        with self._lock:
            self._stopping = True
            self._lock.notify_all()
        self._resting.wait(patience_s)

    def _start_thread(self) -> None:
        # A daemon, so that a thread which was left behind can't keep the program from ending.
        threading.Thread(
            target=self._live, args=(self._generation,), name=f"moshi-model-{self._generation}", daemon=True
        ).start()

    def _live(self, generation: int) -> None:
        self._work(generation)
        if generation == self._generation:
            self._resting.set()
        threading.Event().wait()

    def _next(self, generation: int) -> Job | None:
        """Wait for a job; None when there will be none for this thread."""
        with self._lock:
            while generation == self._generation:
                now_s = self._clock()
                if (job := self._jobs.take(now_s, ending=self._stopping)) is not None:
                    self._current, self._since = job, now_s
                    return job
                if self._stopping:
                    return None
                self._lock.wait(self._jobs.wait_s(now_s))
            return None

    def _work(self, generation: int) -> None:
        while (job := self._next(generation)) is not None:
            error: BaseException | None = None
            try:
                job.run()
            except BaseException as raised:
                error = raised
            with self._lock:
                if generation != self._generation:
                    return  # another thread has taken over, and the job was reported as failed
                self._current = None
            if error is not None:
                job.failed(error)
            del job, error  # while the thread waits it must not keep a session alive
