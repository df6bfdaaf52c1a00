from __future__ import annotations

from io import StringIO

from rich.console import Console

from moshi_phone.rehearse.advice import ADVICE
from moshi_phone.rehearse.checks import CallContext, Criterion, check
from moshi_phone.rehearse.table import checklist, delay_parts, distributions, shares
from tests.rehearse.test_report import rehearsed


def lines(table: object) -> list[str]:
    console = Console(width=160, record=True, file=StringIO())
    console.print(table)
    return console.export_text().splitlines()


def test_each_criterion_has_a_mark() -> None:
    _, held, failed, unknown = lines(
        checklist(
            [
                Criterion("a", "First", True, "1 ms", "at most 2 ms"),
                Criterion("b", "Second", False, "3 ms", "at most 2 ms", by_speed=True),
                Criterion("c", "Third", None, "not judged", "at most 2 ms"),
            ]
        )
    )
    assert held.split() == ["✓", "First", "1", "ms", "at", "most", "2", "ms"]
    assert failed.split()[:3] == ["✗", "Second", "*"]
    assert unknown.split()[:2] == ["–", "Third"]


def test_several_calls_are_summarized_by_minimum_median_and_maximum() -> None:
    calls = [rehearsed() for _ in range(3)]
    for call, ms in zip(calls, (10.0, 30.0, 20.0), strict=True):
        call.points = [
            Criterion("a", "First", ms < 25, f"{ms:g} ms", "25 ms", numbers={"p_50": ms, "x": None})
        ]
    _, line = lines(distributions(calls))
    assert "2 of 3 hold; p 50 10, 20, 30; x unknown; 30 ms" in line


def test_the_server_s_share_is_shown_only_if_there_is_one() -> None:
    call = rehearsed()
    assert shares([call]) is None
    call.health = {"servers": [{"name": "gpu-1:8998"}]}
    assert shares([call]) is None
    call.metrics = {"stages": {"server": {"p50": 151.4}, "opus": {"p50": 53.0}}}
    assert shares([call]) == (
        "Of the processing, by gpu-1:8998, p50: 151 ms in the server, 53 ms in Opus; the rest is the line's."
    )


def test_the_parts_of_the_delay_are_shown() -> None:
    call = rehearsed()
    assert delay_parts([call]) is None
    call.metrics = {
        "delay_parts_ms": {"frame": 80.0, "filters": 3.0, "processing": 9.0, "playout": 12.0},
        "processing": {"p50": 4.6},
        "playout_lead": {"p50": 5.8},
    }
    assert delay_parts([call]) == (
        "Mouth to ear, as the server measures it, p50: 80 ms for the frame, 3 ms in filters, "
        "5 ms of processing, 6 ms in the playout buffer."
    )


def test_each_failed_criterion_has_advice() -> None:
    call = rehearsed()
    points = check(CallContext(), call.record, call.found)
    assert {point.key for point in points} == ADVICE.keys()
    told = lines(checklist([Criterion("own_voice", "The engine's own voice first", False, "<Say>", "none")]))
    assert "Take <Say> and <Play> out of the TwiML" in " ".join(told)
