"""``bot.py calls``: the database in a table, as JSON, and as CSV."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from moshi_phone.commands.calls import calls
from moshi_phone.records.call_database import check_database, open_database
from moshi_phone.records.call_queries import put_rows
from moshi_phone.records.call_row import CallRow, Outcome, utc_text

NOON = datetime(2026, 11, 30, 12).astimezone()
ROWS = [
    CallRow(
        id="a",
        began_at=utc_text(NOON),
        from_number="+15551234567",
        secs=72.4,
        outcome=Outcome.ANSWERED,
        reason="the caller hung up",
        metrics={"conversation": {"response": {"count": 3, "p50": 240.4}, "longest_silence_s": 1.2}},
        files={"recording": "/calls/a.wav"},
    ),
    CallRow(
        id="b",
        began_at=utc_text(NOON - timedelta(days=1)),
        from_number="=HYPERLINK(1)",
        outcome=Outcome.DENIED,
        reason="[red]\x1b[2Jno",
    ),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "calls.db"
    check_database(path)
    with open_database(path) as database:
        put_rows(database, ROWS)
    return path


def run(path: Path | None, *options: str) -> Result:
    database = [] if path is None else ["--calls-db", str(path)]
    return CliRunner().invoke(calls, [*database, *options])


def test_a_table_of_text(path: Path) -> None:
    said = run(path).stdout
    first, second = said.splitlines()[1:]
    assert first.split() == [
        "2026-11-30",
        "12:00:00",
        "+15551234567",
        "1:12",
        "answered",
        "the",
        "caller",
        "hung",
        "up",
    ]
    assert r"[red]\x1b[2Jno" in second
    assert "\x1b" not in said


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ((), "ab"),
        (("--last", "1"), "a"),
        (("--number", "123 45"), "a"),
        (("--day", "2026-11-29"), "b"),
        (("--outcome", "denied"), "b"),
        (("--day", "2026-11-28"), ""),
    ],
)
def test_a_search_as_json_and_csv(path: Path, options: tuple[str, ...], ids: str) -> None:
    told = json.loads(run(path, "--json", *options).stdout)
    assert "".join(row["id"] for row in told) == ids
    rows = list(csv.DictReader(io.StringIO(run(path, "--csv", *options).stdout)))
    assert "".join(row["id"] for row in rows) == ids
    if ids == "ab":
        assert (told[0]["metrics"], told[0]["files"]) == (ROWS[0].metrics, ROWS[0].files)
        assert (rows[0]["from_number"], rows[1]["from_number"]) == ("+15551234567", "'=HYPERLINK(1)")
        assert (rows[0]["response_p50_ms"], rows[0]["recording"]) == ("240", "/calls/a.wav")
    if not ids:
        assert run(path, *options).stdout == "No calls.\n"


def test_user_errors_are_one_sentence(path: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("no database " * 50)
    for given, options, words in (
        (None, (), "--calls-db FILE"),
        (path, ("--json", "--csv"), "Choose either"),
        (tmp_path / "gone.db", (), "There is no"),
        (tmp_path / "notes.db", (), "cannot be read (file is not a database)"),
        (path, ("--day", "monday"), "does not match the format"),
        (path, ("--outcome", "fine"), "is not one of"),
    ):
        result = run(given, *options)
        assert result.exit_code == 2
        assert words in result.stderr
        assert "Traceback" not in result.stderr
