"""When to step, and how many calls at once.

The rule: when the model's thread becomes free, it takes all waiting frames, one of each call, up to
``--batch``. A single call never waits; with several, a frame waits at most for the current step. No frame is
delayed in favour of others: a step that is late for all calls is better than one that is late for some,
perhaps always the same.

The exception is measured: if a step of several rows takes longer than as many steps of one row (on a machine
limited by arithmetic, not by memory or launches), fewer rows are combined.
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

RECENT_STEPS = 9  # their median is the step's duration: one slow step does not count
WORTH_IT = 1.1  # tolerance for a larger step's cost per row, against timing noise
FORGOTTEN_AFTER = (
    125  # times that a number of rows was rejected, ten seconds of speech; then it is tried again
)

Part = TypeVar("Part")
Result = TypeVar("Result")


class StepTimes:
    """Durations of steps, by their number of rows.

    Written in the model's thread; readers in other threads get a snapshot.

    Args:
        max_rows: maximum number of rows of a step.
    """

    def __init__(self, max_rows: int) -> None:
        # All of them now: a reader in another thread must not see the dictionary grow.
        self.histograms = {rows: Histogram() for rows in range(1, max_rows + 1)}
        self._recent_ms: dict[int, deque[float]] = {}  # by rows; the scheduler decides by these alone
        # By rows: how often they were too slow since they were last measured.
        self._passed_over: dict[int, int] = {}

    def add(self, rows: int, step_ms: float) -> None:
        """Record a step."""
        self.histograms[rows].add(step_ms)
        self.expect(rows, step_ms)

    def expect(self, rows: int, step_ms: float) -> None:
        """Record the duration of a trial step, without any call."""
        self._recent_ms.setdefault(rows, deque(maxlen=RECENT_STEPS)).append(step_ms)

    @property
    def measured_ms(self) -> dict[int, float]:
        """Median duration of a step by its number of rows, as far as measured."""
        return {rows: median(times_ms) for rows, times_ms in self._recent_ms.items()}

    def expected_ms(self, rows: int) -> float | None:
        """Expected duration of a step: that of the largest measured number of rows up to this one.

        None if none was measured.
        """
        known = max((number for number in self._recent_ms if number <= rows), default=None)
        return None if known is None else median(self._recent_ms[known])

    def rows_for(self, waiting: int) -> int:
        """Return how many of the waiting rows to combine into one step."""
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
    """One call's part of a step.

    Attributes:
        part: the step's argument.
        done: called with the step's result for it, and the step's duration in milliseconds.
        failed: called with the reason when the step failed for this part.
    """

    part: Part
    done: Callable[[Result, float], None]
    failed: Callable[[BaseException], None]


class StepBatch(Generic[Part, Result]):
    """Steps of several calls, combined in the model's thread.

    Args:
        step: makes a step, and returns each part's result, or its exception.
        max_rows: maximum number of parts in a step.

    Attributes:
        times: their durations.
    """

    def __init__(self, step: Callable[[Sequence[Part]], Sequence[Result | Exception]], max_rows: int) -> None:
        self._step = step
        self._max_rows = max_rows
        self.times = StepTimes(max_rows)

    def rows_for(self, waiting: int, room_s: float) -> int:
        """Return how many of the waiting parts to combine, at least one.

        Args:
            waiting: number of waiting parts.
            room_s: available time.
        """
        rows = self.times.rows_for(min(waiting, self._max_rows))
        while rows > 1 and (self.times.expected_ms(rows) or 0.0) > room_s * 1000:
            rows -= 1
        return rows

    def run(self, parts: Sequence[BatchPart[Part, Result]]) -> None:
        """Make a step, and deliver the results."""
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
            except Exception as error:  # one call's failure must not affect the others
                part.failed(error)


LanguagePart = tuple[LanguageSession, Tokens, Overrides]
LanguageBatch = StepBatch[LanguagePart, LanguageStep]


def language_batch(max_rows: int) -> LanguageBatch:
    """Create the batch that steps the calls' language sessions."""

    def step(parts: Sequence[LanguagePart]) -> list[LanguageStep | Exception]:
        sessions, frames, overrides = zip(*parts, strict=True)
        return try_together(sessions, frames, overrides)

    return StepBatch(step, max_rows)
