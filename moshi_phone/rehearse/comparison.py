"""Several calls against each other, point by point. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from moshi_phone.rehearse.checks import Criterion
from moshi_phone.rehearse.rehearsal import RehearsalResult


@dataclass(frozen=True)
class NumberSpread:
    """One figure of all calls.

    Attributes:
        least, median, most: over the calls that know it; None where none does.
        by_call: of each, in the order of the calls.
    """

    least: float | None
    median: float | None
    most: float | None
    by_call: list[float | None]

    @classmethod
    def of(cls, by_call: Sequence[float | None]) -> NumberSpread:
        """Sum up."""
        known = [value for value in by_call if value is not None]
        if not known:
            return cls(None, None, None, list(by_call))
        return cls(min(known), median(known), max(known), list(by_call))


@dataclass(frozen=True)
class Compared:
    """One point of the checklist over all calls.

    Attributes:
        key, title, bound, by_speed: as the point has them.
        held: in how many calls it holds.
        judged: in how many it could be judged.
        figure: of the first call in which it does not hold, in words; empty where there is none.
        numbers: its metrics.
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
        """Whether it holds in every call that could be judged; None where none could."""
        return self.held == self.judged if self.judged else None


def compare(calls: Sequence[RehearsalResult]) -> list[Compared]:
    """Hold the calls against each other, in the order of the checklist."""
    return [_compared(points) for points in zip(*(call.points for call in calls), strict=True)]


def as_json(points: Sequence[Compared]) -> list[dict[str, Any]]:
    """Return the comparison as ``report.json`` holds it."""
    return [asdict(point) | {"passed": point.passed} for point in points]


def _compared(points: tuple[Criterion, ...]) -> Compared:
    first = points[0]
    judged = [point for point in points if point.passed is not None]
    failed = [point for point in judged if not point.passed]
    # A point that could not be measured in one call has no numbers there.
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
