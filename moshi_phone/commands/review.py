"""``uv run bot.py review``: measure the conversation in recorded calls."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import cloup
from rich.console import Console
from rich.table import Table
from rich.text import Text

from moshi_phone.commands.errors import Unusable, explained
from moshi_phone.commands.options import GROUPS, command
from moshi_phone.conversation import overview
from moshi_phone.conversation.criteria import Criterion
from moshi_phone.conversation.recordings import RecordingUnusable, calls_in
from moshi_phone.conversation.report import as_json, headline
from moshi_phone.conversation.review import Reviewed, review_recording
from moshi_phone.conversation.write_report import write_report

_MARKS = {True: Text("✓", "bold green"), False: Text("✗", "bold red"), None: Text("–", "dim")}
_WIDTH_WITHOUT_TERMINAL = 140


@command()
@cloup.argument(
    "recordings", nargs=-1, required=True, type=click.Path(path_type=Path), help="Files or folders."
)
@cloup.option(
    "--pair",
    is_flag=True,
    group=GROUPS["keep"],
    help="The two mono files are one call, the caller's first.",
)
@cloup.option(
    "--report",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    group=GROUPS["keep"],
    help="Write report.md, report.json and a picture into this directory; each of several "
    "calls gets a subdirectory.",
)
@cloup.option("--json", "in_json", is_flag=True, group=GROUPS["keep"], help="Print one JSON object instead.")
@cloup.option(
    "--against",
    type=click.Path(path_type=Path),
    metavar="DIR",
    group=GROUPS["keep"],
    help="Compare with the recordings in another folder (another model or persona), with intervals of 95 %.",
)
def review(
    *, recordings: tuple[Path, ...], pair: bool, report: Path | None, in_json: bool, against: Path | None
) -> None:
    """Measure the conversation in RECORDINGS: stereo files from --record (caller left), or folders of them.

    Exit code 0 if every recording could be measured, whatever the result; 2 if one could not.
    """
    console = Console(width=None if Console().is_terminal else _WIDTH_WITHOUT_TERMINAL)
    with explained():
        calls, unusable = _review_all(_sources(recordings, pair=pair))
        others = _review_all(_sources((against,), pair=False))[0] if against else []
    folders = dict[str, Path]()
    if report:
        try:
            folders = _write(report, calls)
        except OSError as error:
            raise Unusable(
                f"Cannot write to {report} ({error.strerror}); choose another --report."
            ) from error
    if in_json:
        click.echo(json.dumps(_as_json(calls, unusable, others), indent=2))
    else:
        _show(console, calls, others)
        for sentence in unusable:
            console.print(Text(sentence, "yellow"))
        if folders:
            console.print(
                f"Report: {', '.join(str(path) for path in list(folders.values())[:4])}", highlight=False
            )
    if unusable and not calls:
        raise Unusable(unusable[0])


def _sources(recordings: tuple[Path, ...], *, pair: bool) -> list[tuple[Path, ...]]:
    """Return each call's files.

    Raises:
        RecordingUnusable: when there are none.
    """
    if pair:
        if len(recordings) != 2:  # noqa: PLR2004 - a pair
            raise RecordingUnusable(f"--pair: expected two files, got {len(recordings)}.")
        return [recordings]
    sources = list[tuple[Path, ...]]()
    for path in recordings:
        if not path.is_dir():
            sources.append((path,))
        elif found := calls_in(path):
            sources += [(one,) for one in found]
        else:
            raise RecordingUnusable(f"There is no recording in {path}; calls are recorded with --record DIR.")
    return sources


def _review_all(sources: list[tuple[Path, ...]]) -> tuple[list[Reviewed], list[str]]:
    """Measure each call. Among several, an unreadable one is reported and skipped.

    Raises:
        RecordingUnusable: when the only recording cannot be read.
    """
    calls, unusable = list[Reviewed](), list[str]()
    for paths in sources:
        try:
            calls.append(review_recording(paths))
        except RecordingUnusable as error:
            if len(sources) == 1:
                raise
            unusable.append(str(error))
    calls.sort(key=lambda call: -call.failed)  # worst first
    return calls, unusable


def _write(report: Path, calls: list[Reviewed]) -> dict[str, Path]:
    """Write each call's report; return the files' paths."""
    written = dict[str, Path]()
    names = set[str]()
    for call in calls:
        name = call.facts.name
        while name in names:
            name += "_"
        names.add(name)
        folder = report if len(calls) == 1 else report / name
        written[name] = write_report(folder, call)
    return written


def _as_json(calls: list[Reviewed], unusable: list[str], others: list[Reviewed]) -> dict[str, Any]:
    each = [as_json(call.facts, call.talked, call.criteria) for call in calls]
    if len(calls) == 1 and not unusable and not others:
        return each[0]
    talked = [call.talked for call in calls]
    result: dict[str, Any] = {
        "calls": each,
        "unusable": unusable,
        "over_all": _plain(overview.over_all(talked)),
        "distributions": overview.distributions(talked),
    }
    if len(calls) == 1:
        result["conversation"] = talked[0]
    if others:
        other = [call.talked for call in others]
        result["against"] = {
            "over_all": _plain(overview.over_all(other)),
            "difference": _plain(overview.against(other, talked)),
        }
    return result


def _plain(found: dict[str, Any]) -> dict[str, Any]:
    return {name: None if figure is None else asdict(figure) for name, figure in found.items()}


def _show(console: Console, calls: list[Reviewed], others: list[Reviewed]) -> None:
    if len(calls) == 1:
        (call,) = calls
        console.print(Text(f"{call.facts.name}: {headline(call.talked)}", "bold"))
        console.print(_checklist(call.criteria))
    elif calls:
        console.print(_list(calls))
        console.print(_over_all([call.talked for call in calls]))
    if others:
        console.print(_differences([call.talked for call in others], [call.talked for call in calls]))


def _checklist(criteria: list[Criterion]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("", "point", "what was measured", "must be"):
        table.add_column(column, overflow="fold", no_wrap=column == "point")
    for point in criteria:
        table.add_row(_MARKS[point.passed], point.title, Text(point.figure), Text(point.bound, "dim"))
    return table


def _list(calls: list[Reviewed]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("call, the worst first", "secs", "failed", "how it talked"):
        table.add_column(column, overflow="fold")
    for call in calls:
        failed = [point.title for point in call.criteria if point.passed is False]
        secs = f"{call.voices.until_s:.0f}"
        table.add_row(
            call.facts.name, secs, Text(str(len(failed)), "red" if failed else ""), headline(call.talked)
        )
    return table


def _over_all(talked: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", title=None)
    for column in ("over all calls", "median or mean", "95 % interval", "calls", "count", "p95", "largest"):
        table.add_column(column)
    spreads = overview.distributions(talked)
    for name, found in overview.over_all(talked).items():
        if found is not None:
            spread = spreads.get(name) or {}
            interval = "–" if found.low is None else f"{found.low:.4g} to {found.high:.4g}"
            rest = [f"{spread[part]:.4g}" if spread else "" for part in ("p95", "max")]
            row = [name.replace("_", " "), f"{found.value:.4g}", interval, str(found.calls), str(found.count)]
            table.add_row(*row, *rest)
    return table


def _differences(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("against the other folder", "there", "here", "change", "95 % interval", ""):
        table.add_column(column)
    for name, found in overview.against(first, second).items():
        if found is None:
            table.add_row(name.replace("_", " "), "–", "–", "–", "–", "too few calls")
            continue
        figures = [f"{value:.4g}" for value in (found.first, found.second)]
        interval = f"{found.low:+.4g} to {found.high:+.4g}"
        word = "differs" if found.certain else "no certain difference"
        table.add_row(name.replace("_", " "), *figures, f"{found.change:+.4g}", interval, word)
    return table
