"""Comparison of several calls, criterion by criterion. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from moshi_phone.rehearse.checks import Criterion
from moshi_phone.rehearse.rehearsal import RehearsalResult


@dataclass(frozen=True)
class NumberSpread:
    """The spread of one number over all calls.

    Attributes:
        least, median, most: over the calls that have it; None if none has.
        by_call: each call's value, in order.
    """

    least: float | None
    median: float | None
    most: float | None
    by_call: list[float | None]

    @classmethod
    def of(cls, by_call: Sequence[float | None]) -> NumberSpread:
        """Summarize the calls' values."""
        known = [value for value in by_call if value is not None]
        if not known:
            return cls(None, None, None, list(by_call))
        return cls(min(known), median(known), max(known), list(by_call))


@dataclass(frozen=True)
class Compared:
    """One criterion over all calls.

    Attributes:
        key, title, bound, by_speed: those of the criterion.
        held: number of calls that pass it.
        judged: number of calls in which it could be judged.
        figure: the first failing call's figure; empty if no call fails.
        numbers: the spread of each of its numbers.
    """

    key: str
    title: str
    bound: str
    by_speed: bool
    held: int
    judged: int
    figure: str
    numbers: dict[str, NumberSpread]

    @property
    def passed(self) -> bool | None:
        """Whether every judged call passes; None if none could be judged."""
        return self.held == self.judged if self.judged else None


def compare(calls: Sequence[RehearsalResult]) -> list[Compared]:
    """Compare the calls, in the order of the checklist."""
    return [_compared(points) for points in zip(*(call.points for call in calls), strict=True)]


def as_json(points: Sequence[Compared]) -> list[dict[str, Any]]:
    """Return the comparison in the format of ``report.json``."""
    return [asdict(point) | {"passed": point.passed} for point in points]


def _compared(points: tuple[Criterion, ...]) -> Compared:
    first = points[0]
    judged = [point for point in points if point.passed is not None]
    failed = [point for point in judged if not point.passed]
    # A criterion has no numbers in a call where it was not measured.
    names = dict.fromkeys(name for point in points for name in point.numbers)
    return Compared(
        first.key,
        first.title,
        first.bound,
        first.by_speed,
        len(judged) - len(failed),
        len(judged),
        failed[0].figure if failed else "",
        {name: NumberSpread.of([point.numbers.get(name) for point in points]) for name in names},
    )
