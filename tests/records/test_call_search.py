"""records/call_search.py: the same search in memory and in the database."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from moshi_phone.records.call_database import open_database
from moshi_phone.records.call_queries import count_rows, find_rows, put_rows
from moshi_phone.records.call_row import CallRow, Outcome
from moshi_phone.records.call_search import CallSearch, newest_first

DAY = "2026-11-30T"
ROWS = [
    CallRow(id="a", began_at=f"{DAY}08:00:00.000Z", from_number="+15551234567", to_number="+15550001111"),
    CallRow(id="b", began_at=f"{DAY}09:00:00.000Z", from_number="sip:a_b%c@x.example", outcome=Outcome.BUSY),
    CallRow(id="c", began_at=f"{DAY}09:00:00.000Z", from_number="anonymous", outcome=Outcome.BUSY),
    CallRow(
        id="d", began_at="2026-12-01T08:00:00.000Z", from_number="+15550001111", direction="outbound-api"
    ),
]


@pytest.mark.parametrize(
    ("search", "ids"),
    [
        (CallSearch(), "dcba"),
        (CallSearch(limit=2), "dc"),
        (CallSearch(limit=2, before=(f"{DAY}09:00:00.000Z", "c")), "ba"),
        (CallSearch(number="(555) 123-45 67"), "a"),
        (CallSearch(number="0001111"), "da"),
        (CallSearch(number="_b%"), "b"),  # no wildcards
        (CallSearch(number="_"), "b"),
        (CallSearch(number="ANON"), "c"),
        (CallSearch(since=f"{DAY}09:00:00.000Z", until="2026-12-01T00:00:00.000Z"), "cb"),
        (CallSearch(outcome=Outcome.BUSY), "cb"),
        (CallSearch(number="' OR 1 --"), ""),
    ],
)
def test_memory_and_database_give_the_same_result(tmp_path: Path, search: CallSearch, ids: str) -> None:
    with open_database(tmp_path / "calls.db") as database:
        put_rows(database, ROWS)
        found = find_rows(database, search)
        assert count_rows(database, search) == len(
            newest_first(replace(search, before=None, limit=500), ROWS)
        )
    assert "".join(row.id for row in found) == "".join(row.id for row in newest_first(search, ROWS)) == ids


def test_the_later_source_takes_precedence() -> None:
    old, new = CallRow(id="a", reason="old"), CallRow(id="a", reason="new")
    assert newest_first(CallSearch(), [old], [new]) == [new]
