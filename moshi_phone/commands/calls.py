"""``uv run bot.py calls``: list past calls from the database of ``--calls-db``."""

from __future__ import annotations

import csv
import json
import sqlite3
import sys
from dataclasses import fields
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click
import cloup
from rich.console import Console
from rich.table import Table
from rich.text import Text

from moshi_phone.access.redact import visible
from moshi_phone.commands.errors import Unusable, explained
from moshi_phone.commands.options import GROUPS, command, options_from
from moshi_phone.records.call_database import open_database
from moshi_phone.records.call_queries import find_rows
from moshi_phone.records.call_row import CallRow, Outcome, utc_text
from moshi_phone.records.call_search import CallSearch
from moshi_phone.records.options import TapOptions

_WIDTH_WITHOUT_TERMINAL = 140
_COLUMNS = [one.name for one in fields(CallRow) if one.name not in ("metrics", "files")]
_FIGURES = ("response_p50_ms", "stop_p50_ms", "longest_silence_s", "delay_p50_ms", "delay_p95_ms")


@command("List past calls, including refused ones (--calls-db).")
@cloup.option(
    "--number",
    metavar="TEXT",
    group=GROUPS["keep"],
    help="Only calls from or to this number, or a part of one.",
)
@cloup.option(
    "--day",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    group=GROUPS["keep"],
    help="Only calls that began on this day, such as 2026-11-30, in this machine's time zone.",
)
@cloup.option(
    "--outcome",
    type=click.Choice([str(one) for one in Outcome]),
    group=GROUPS["keep"],
    help="Only calls with this outcome.",
)
@cloup.option(
    "--last",
    type=click.IntRange(1),
    default=50,
    show_default=True,
    metavar="N",
    group=GROUPS["keep"],
    help="Number of calls to list, newest first.",
)
@cloup.option(
    "--json", "in_json", is_flag=True, group=GROUPS["keep"], help="Print JSON, including metrics and files."
)
@cloup.option("--csv", "in_csv", is_flag=True, group=GROUPS["keep"], help="Print CSV, for a spreadsheet.")
@options_from(TapOptions, only=("calls_db",))
def calls(
    *,
    number: str | None,
    day: datetime | None,
    outcome: str | None,
    last: int,
    in_json: bool,
    in_csv: bool,
    tap_options: TapOptions,
) -> None:
    """List the calls in the database of --calls-db, newest first. The server may be running."""
    path = tap_options.calls_db
    if path is None:
        raise Unusable("Name the database with --calls-db FILE or MOSHI_CALLS_DB.")
    if in_json and in_csv:
        raise Unusable("Choose either --json or --csv.")
    search = CallSearch(
        number=number,
        since=utc_text(day.astimezone()) if day else None,
        until=utc_text((day + timedelta(days=1)).astimezone()) if day else None,
        outcome=Outcome(outcome) if outcome else None,
        limit=last,
    )
    rows = _read(path, search)
    if in_json:
        click.echo(json.dumps([_as_json(row) for row in rows], indent=2, ensure_ascii=False))
    elif in_csv:
        _write_csv(rows)
    else:
        _show(rows)


def _read(path: Path, search: CallSearch) -> list[CallRow]:
    if not path.is_file():
        raise Unusable(f"There is no {path} yet; a server started with --calls-db {path} creates it.")
    try:
        with explained(), open_database(path, read_only=True) as database:
            return find_rows(database, search)
    except (sqlite3.Error, OSError) as error:
        raise Unusable(f"{path} cannot be read ({error}).") from error


def _as_json(row: CallRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in (*_COLUMNS, "metrics", "files")}


def _write_csv(rows: list[CallRow]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([*_COLUMNS, *_FIGURES, "recording"])
    for row in rows:
        values = [getattr(row, name) for name in _COLUMNS]
        writer.writerow(map(_cell, [*values, *_figures(row), row.files.get("recording", "")]))


def _cell(value: object) -> object:
    """Escape text that a spreadsheet would read as a formula; a phone number's plus is harmless."""
    if isinstance(value, str) and value[:1] in ("=", "-", "@", "\t", "\r"):
        return f"'{value}"
    return value


def _figures(row: CallRow) -> list[object]:
    talk = row.metrics.get("conversation", {})

    def of(spread: dict[str, Any] | None, name: str) -> object:
        return round(spread[name]) if spread and spread.get("count") else ""

    delay = row.metrics.get("delay")
    return [
        of(talk.get("response"), "p50"),
        of(talk.get("stop"), "p50"),
        talk.get("longest_silence_s", ""),
        of(delay, "p50"),
        of(delay, "p95"),
    ]


def _show(rows: list[CallRow]) -> None:
    console = Console(width=None if Console().is_terminal else _WIDTH_WITHOUT_TERMINAL)
    if not rows:
        console.print("No calls.")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("began", "from", "to", "persona", "length", "outcome", "reason"):
        table.add_column(name, overflow="fold", no_wrap=name in ("began", "length"))
    for row in rows:
        began = datetime.fromisoformat(row.began_at).astimezone()
        minutes, secs = divmod(round(row.secs), 60)
        length = f"{minutes}:{secs:02}" if row.secs else "–"
        cells = (row.from_number, row.to_number, row.section or "", length, str(row.outcome), row.reason)
        # As Text: a caller's name must not be read as rich's markup or a terminal's escape sequence.
        table.add_row(f"{began:%Y-%m-%d %H:%M:%S}", *(Text(visible(one)) for one in cells))
    console.print(table)
