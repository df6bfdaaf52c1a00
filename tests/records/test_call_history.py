"""records/call_history.py: the last 200 calls, the running calls, and masked numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

from moshi_phone.access.redact import redact
from moshi_phone.records.call_history import RECENT, CallHistory
from moshi_phone.records.call_row import CallRow, Outcome


@dataclass
class Stored:
    run_id: str = "0a1b2c3d"
    rows: list[CallRow] = field(default_factory=list[CallRow])

    def put(self, row: CallRow) -> None:
        self.rows.append(row)


def test_a_running_call_is_kept_however_many_follow() -> None:
    history = CallHistory(stored := Stored())
    running = history.add(CallRow(call_sid="CA0", outcome=Outcome.RUNNING))
    for number in range(3 * RECENT):
        history.add(
            CallRow(call_sid=f"CB{number}", outcome=Outcome.DENIED, ended_at="2026-11-30T08:00:00.000Z")
        )
    assert len(history.rows) == RECENT + 1
    assert history.get(running.id) == history.find("CA0") == running
    assert history.find("CB0") is None
    ended = history.update("CA0", outcome=Outcome.ANSWERED, ended_at="2026-11-30T08:01:00.000Z")
    assert ended is not None
    assert history.find("CA0") == history.get(running.id) == ended
    assert len(history.rows) == RECENT
    assert stored.rows[-1] == ended
    assert history.update("CB0", reason="too late") is None
    history.forget(running.id)
    assert history.find("CA0") is None


def test_a_call_that_returns_has_one_row() -> None:
    history = CallHistory()
    first = history.add(
        CallRow(call_sid="CA0", outcome=Outcome.TRANSFERRED, ended_at="2026-11-30T08:00:00.000Z")
    )
    again = history.update("CA0", outcome=Outcome.RUNNING, ended_at=None)
    assert again is not None
    assert again.id == first.id
    assert history.rows == [again]


def test_calls_without_an_end_are_bounded() -> None:
    history = CallHistory()
    for number in range(1_500):
        history.add(CallRow(call_sid=f"CA{number}"))
    assert len(history.rows) == 1_000
    assert history.find("CA0") is None


def test_numbers_are_masked_before_they_are_stored() -> None:
    history = CallHistory(stored := Stored(), redact)
    history.add(CallRow(call_sid="CA" + "x" * 1000, from_number="+15551234567", to_number="+15550001111"))
    history.update("CA" + "x" * 1000, transfer_to="+15559990000")
    (row,) = history.rows
    assert (row.from_number, row.to_number, row.transfer_to) == ("+…567", "+…111", "+…000")
    assert len(row.call_sid) == 64
    assert "5551234" not in repr([vars_of(row) for row in stored.rows])


def vars_of(row: CallRow) -> dict[str, object]:
    return {name: getattr(row, name) for name in row.__slots__}
