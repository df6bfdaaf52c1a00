"""The checklist as a person reads it on a terminal."""

from __future__ import annotations

from statistics import median

from rich.table import Table
from rich.text import Text

from rehearse.checks import Criterion
from rehearse.rehearsal import Rehearsed

_MARKS = {True: Text("✓", "bold green"), False: Text("✗", "bold red"), None: Text("–", "dim")}
BY_SPEED = "* depends on this machine's speed: one that is too slow for its engine fails it."


def checklist(points: list[Criterion]) -> Table:
    """Lay out one call's points: mark, name, figure, bound."""
    table = _table("what was measured")
    for point in points:
        table.add_row(_MARKS[point.passed], _title(point), Text(point.figure), Text(point.bound, "dim"))
    return table


def distributions(calls: list[Rehearsed]) -> Table:
    """Lay out the same points for several calls: how many hold each, and how their figures are spread."""
    table = _table("over all calls: least, median, most")
    for rows in zip(*(call.points for call in calls), strict=True):
        judged = [point.passed for point in rows if point.passed is not None]
        passed = all(judged) if judged else None
        held = f"{sum(judged)} of {len(judged)} hold" if judged else "not judged"
        figures = "; ".join(_spread(rows, name) for name in rows[0].numbers)
        words = f"{held}; {figures}" if figures else held
        if passed is False:
            words += "; " + next(point.figure for point in rows if point.passed is False)
        table.add_row(_MARKS[passed], _title(rows[0]), Text(words), Text(rows[0].bound, "dim"))
    return table


def _table(figure: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column()
    table.add_column("point", no_wrap=True)
    table.add_column(figure, overflow="fold")
    table.add_column("must be", overflow="fold")
    return table


def _title(point: Criterion) -> Text:
    return Text(point.title + (" *" if point.by_speed else ""), "bold" if point.passed is False else "")


def _spread(rows: tuple[Criterion, ...], name: str) -> str:
    """Give a figure's least, median and most over all calls that know it."""
    known = [value for point in rows if (value := point.numbers.get(name)) is not None]
    words = name.replace("_", " ")
    if not known:
        return f"{words} unknown"
    return f"{words} {min(known):.4g}, {median(known):.4g}, {max(known):.4g}"
