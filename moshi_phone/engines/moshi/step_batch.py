"""When to step, and how many calls at once.

The rule: the model's thread takes every frame that waits when it becomes free, one of each call, up to
``--batch``. With one call, nothing waits for anybody; with several, a frame waits at most for the step under
way. No frame is held back so that others are in time: a step that is late for everybody is better than one
that is late for some, always the same ones perhaps.

The exception is measured: where a step of so many rows takes longer than as many steps of one row (a machine
whose arithmetic, not its memory or its launches, is the limit), fewer rows are taken at a time, since all of
them would only wait for each other.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Generic, TypeVar

from moshi_phone.audio.histogram import Histogram
from moshi_phone.engines.moshi.model.language_model import (
    LanguageSession,
    LanguageStep,
    Overrides,
    try_together,
)
from moshi_phone.engines.moshi.model.token_history import Tokens

RECENT_STEPS = 9  # whose median is what a step takes: a hiccup of the machine does not count
WORTH_IT = 1.1  # by how much a row of a larger step may be dearer than a step of its own: noise of timing
FORGOTTEN_AFTER = (
    125  # times that a number of rows was passed over, ten seconds of speech; then it is retried
)

Part = TypeVar("Part")
Result = TypeVar("Result")


class StepTimes:
    """How long steps take, by their number of rows.

    Written in the model's thread; whoever reads it elsewhere gets a moment's view.

    Args:
        most_rows: of a step.
    """

    def __init__(self, most_rows: int) -> None:
        # All of them now: a reader in another thread must not see the dictionary grow.
        self.histograms = {rows: Histogram() for rows in range(1, most_rows + 1)}
        self._recent_ms: dict[int, deque[float]] = {}  # by rows; the scheduler decides by these alone
        # By rows: how often they were too slow since they were last measured.
        self._passed_over: dict[int, int] = {}

    def add(self, rows: int, step_ms: float) -> None:
        """Note a step."""
        self.histograms[rows].add(step_ms)
        self.expect(rows, step_ms)

    def expect(self, rows: int, step_ms: float) -> None:
        """Note how long a step took that was a trial, of no call's."""
        self._recent_ms.setdefault(rows, deque(maxlen=RECENT_STEPS)).append(step_ms)

    @property
    def measured_ms(self) -> dict[int, float]:
        """How long a step takes, by its number of rows, as far as measured."""
        return {rows: median(times_ms) for rows, times_ms in self._recent_ms.items()}

    def expected_ms(self, rows: int) -> float | None:
        """How long a step of so many rows will take: as the next smaller number that was measured at least.

        None where none was measured.
        """
        known = max((number for number in self._recent_ms if number <= rows), default=None)
        return None if known is None else median(self._recent_ms[known])

    def rows_for(self, waiting: int) -> int:
        """How many of the rows that wait to take into one step."""
        alone_ms = self._measured_ms(1)
        # The largest that pays: an unmeasured number of rows is tried, which measures it.
        for rows in range(waiting, 1, -1):
            step_ms = self._measured_ms(rows)
            if alone_ms is None or step_ms is None or step_ms <= WORTH_IT * rows * alone_ms:
                return rows
            self._passed_over[rows] = self._passed_over.get(rows, 0) + 1
            if self._passed_over[rows] >= FORGOTTEN_AFTER:
                del self._passed_over[rows], self._recent_ms[rows]
        return 1

    def _measured_ms(self, rows: int) -> float | None:
        times_ms = self._recent_ms.get(rows)
        return median(times_ms) if times_ms else None


@dataclass(frozen=True, slots=True, eq=False)
class BatchPart(Generic[Part, Result]):
    """What one call adds to a step.

    Attributes:
        part: what the step takes.
        done: called with what the step gave for it, and with how long the step took, in milliseconds.
        failed: called with the reason when the step failed for this part.
    """

    part: Part
    done: Callable[[Result, float], None]
    failed: Callable[[BaseException], None]


class StepBatch(Generic[Part, Result]):
    """Steps of several calls, made at once in the model's thread.

    Args:
        step: makes them: for each part its result, or what was raised in its place.
        most_rows: at once.

    Attributes:
        times: how long they took.
    """

    def __init__(
        self, step: Callable[[Sequence[Part]], Sequence[Result | Exception]], most_rows: int
    ) -> None:
        self._step = step
        self._most_rows = most_rows
        self.times = StepTimes(most_rows)

    def rows_for(self, waiting: int, room_s: float) -> int:
        """How many of the parts that wait to take, at least one.

        Args:
            waiting: how many do.
            room_s: how much time there is.
        """
        rows = self.times.rows_for(min(waiting, self._most_rows))
        while rows > 1 and (self.times.expected_ms(rows) or 0.0) > room_s * 1000:
            rows -= 1
        return rows

    def run(self, parts: Sequence[BatchPart[Part, Result]]) -> None:
        """Make a step, and hand the results out."""
        if not parts:
            return
        began_s = time.perf_counter()
        results = self._step([part.part for part in parts])
        step_ms = (time.perf_counter() - began_s) * 1000
        self.times.add(len(parts), step_ms)
        for part, result in zip(parts, results, strict=True):
            if isinstance(result, Exception):
                part.failed(result)
                continue
            try:
                part.done(result, step_ms)
            except Exception as error:  # what one call makes of its step is no matter of the others
                part.failed(error)


LanguagePart = tuple[LanguageSession, Tokens, Overrides]
LanguageBatch = StepBatch[LanguagePart, LanguageStep]


def language_batch(most_rows: int) -> LanguageBatch:
    """Make what steps the conversations of so many calls at once."""

    def step(parts: Sequence[LanguagePart]) -> list[LanguageStep | Exception]:
        sessions, frames, overrides = zip(*parts, strict=True)
        return try_together(sessions, frames, overrides)

    return StepBatch(step, most_rows)
