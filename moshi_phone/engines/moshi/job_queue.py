"""What the model's thread does next: the talk first, and beside it only what fits into its pauses. Pure."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass


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
