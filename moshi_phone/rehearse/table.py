"""The checklist as a table for the terminal."""

from __future__ import annotations

from statistics import median

from rich.table import Table
from rich.text import Text

from moshi_phone.conversation.criteria import Criterion as TalkCriterion
from moshi_phone.conversation.overview import over_all
from moshi_phone.engines.remote.pace import SHARES
from moshi_phone.rehearse.advice import ADVICE
from moshi_phone.rehearse.checks import Criterion
from moshi_phone.rehearse.comparison import Compared, NumberSpread, compare
from moshi_phone.rehearse.rehearsal import RehearsalResult

_MARKS = {True: Text("✓", "bold green"), False: Text("✗", "bold red"), None: Text("–", "dim")}
BY_SPEED = "* depends on this machine's speed: one that is too slow for its engine fails it."


def checklist(points: list[Criterion]) -> Table:
    """Return a table of one call's points: mark, name, figure, bound."""
    table = _table("what was measured")
    for point in points:
        table.add_row(_MARKS[point.passed], _title(point), Text(point.figure), Text(point.bound, "dim"))
        if point.passed is False and point.key in ADVICE:
            table.add_row("", "", Text(ADVICE[point.key], "italic"), "")
    return table


def delay_parts(calls: list[RehearsalResult]) -> str | None:
    """Return a sentence on the parts of the delay, as the server measured them; None without its metrics."""
    served = [call.metrics for call in calls if call.metrics and "delay_parts_ms" in call.metrics]
    if not served:
        return None
    figures = [
        (median(metrics["delay_parts_ms"]["frame"] for metrics in served), "for the frame"),
        (median(metrics["delay_parts_ms"]["filters"] for metrics in served), "in filters"),
        (median(metrics["processing"]["p50"] for metrics in served), "of processing"),
        (median(metrics["playout_lead"]["p50"] for metrics in served), "in the playout buffer"),
    ]
    words = ", ".join(f"{ms:.0f} ms {where}" for ms, where in figures)
    return f"Mouth to ear, as the server measures it, p50: {words}."


def shares(calls: list[RehearsalResult]) -> str | None:
    """Return a sentence on the parts of a remote server's delay; None without a remote server or data."""
    parts = [
        f"{median(found):.0f} ms {where}"
        for stage, where in SHARES.items()
        if (found := [figure for call in calls if (figure := _p50(call, stage)) is not None])
    ]
    servers = [str(server.get("name")) for server in (calls[0].health or {}).get("servers", ())]
    if not parts or not servers:
        return None
    return f"Of the processing, by {', '.join(servers)}, p50: {', '.join(parts)}; the rest is the line's."


def _p50(call: RehearsalResult, stage: str) -> float | None:
    found = ((call.metrics or {}).get("stages") or {}).get(stage)
    return None if found is None else float(found["p50"])


def distributions(calls: list[RehearsalResult]) -> Table:
    """Return a table of several calls: passes of each point, and the spread of its numbers."""
    table = _table("over all calls: least, median, most")
    for point in compare(calls):
        words = f"{point.held} of {point.judged} hold" if point.judged else "not judged"
        words = "; ".join((words, *(_spread(name, spread) for name, spread in point.numbers.items())))
        if point.figure:
            words += f"; {point.figure}"
        table.add_row(_MARKS[point.passed], _title(point), Text(words), Text(point.bound, "dim"))
    return table


def scenes(calls: list[RehearsalResult]) -> Table:
    """Return a table of the conversations' scenes, over all calls."""
    table = _table("conversation")
    by_key: dict[str, list[TalkCriterion]] = {}
    for call in calls:
        for point in call.scenes:
            by_key.setdefault(point.key, []).append(point)
    for points in by_key.values():
        judged = [point for point in points if point.passed is not None]
        failed = [point for point in judged if not point.passed]
        words = (failed or points)[0].figure
        if len(calls) > 1:
            words = f"{len(judged) - len(failed)} of {len(judged)} hold; {words}"
        passed = not failed if judged else None
        title = Text(points[0].title, "bold" if failed else "")
        table.add_row(_MARKS[passed], title, Text(words), Text(points[0].bound, "dim"))
    for name, found in over_all([call.talk.talked for call in calls]).items() if len(calls) > 1 else ():
        if found is not None and found.low is not None:
            words = f"{found.value:.4g}, 95 % interval {found.low:.4g} to {found.high:.4g}, of {found.count}"
            table.add_row("", name.replace("_", " "), Text(words), "")
    return table


def _table(figure: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column()
    table.add_column("point", no_wrap=True)
    table.add_column(figure, overflow="fold")
    table.add_column("must be", overflow="fold")
    return table


def _title(point: Criterion | Compared) -> Text:
    return Text(point.title + (" *" if point.by_speed else ""), "bold" if point.passed is False else "")


def _spread(name: str, spread: NumberSpread) -> str:
    """Format a number's least, median and most over all calls that have it."""
    words = name.replace("_", " ")
    if spread.median is None:
        return f"{words} unknown"
    return f"{words} {spread.least:.4g}, {spread.median:.4g}, {spread.most:.4g}"
