from __future__ import annotations

import re
from pathlib import Path

import pytest

from moshi_phone.access.refusal import CAUSES, Refusal, RefusalCause, StreamRefused, Where
from moshi_phone.access.refusals import GENUINE_LINES, Refusals
from tests.support.logs import Logged

SID = "CA" + "1" * 32


def busy(reason: str = "all 2 sessions are taken") -> Refusal:
    return Refusal(RefusalCause.BUSY, reason)


def test_a_refusal_logs_the_shortened_sid_the_cause_and_the_peer(logged: Logged) -> None:
    Refusals().note(Where.WEBHOOK, busy(), call_sid=SID, peer="+…567")
    assert logged.text == (
        "WARNING CA11111111 Refused a webhook (cause busy, from +…567): all 2 sessions are taken\n"
    )


def test_a_stranger_s_call_sid_is_sanitized_in_the_log(logged: Logged) -> None:
    forged = Refusal(RefusalCause.SIGNATURE, "its signature is wrong")
    Refusals().note(Where.WEBHOOK, forged, call_sid="{x}\nERROR\x1b[31m+1555", peer="")
    assert logged.text.startswith("WARNING xERROR31m1 Refused a webhook (cause signature, from an unknown")
    assert logged.text.count("\n") == 1


def test_refusals_are_counted_by_entrance_and_cause() -> None:
    refusals = Refusals()
    refusals.note(Where.WEBHOOK, busy())
    refusals.note(Where.STREAM, busy())
    refusals.note(Where.STREAM, Refusal(RefusalCause.LATE, "no start came"))
    assert refusals.counts[Where.STREAM][RefusalCause.BUSY] == 1
    assert refusals.counts[Where.BROWSER][RefusalCause.BUSY] == 0
    assert refusals.by_cause == {"busy": 2, "late": 1}


def test_each_cause_is_logged_at_a_limited_rate(logged: Logged) -> None:
    now_s = 0.0
    refusals = Refusals(lambda: now_s)
    for _ in range(50):
        refusals.note(Where.WEBHOOK, Refusal(RefusalCause.UNSIGNED, "it has no signature"))
        refusals.note(Where.STREAM, Refusal(RefusalCause.TOKEN_MISSING, "it shows no token"))
        refusals.note(Where.WEBHOOK, busy())
    assert [logged.text.count(cause) for cause in ("unsigned", "token_missing", "busy")] == [
        1,
        1,
        GENUINE_LINES,
    ]
    now_s = 10.0
    refusals.note(Where.WEBHOOK, Refusal(RefusalCause.UNSIGNED, "it has no signature"))
    assert "it has no signature (49 more were not logged)" in logged.text
    assert refusals.by_cause == {"unsigned": 51, "token_missing": 50, "busy": 50}


@pytest.mark.parametrize("cause", CAUSES[Where.STREAM])
def test_a_stream_is_closed_with_the_code_of_its_cause(cause: RefusalCause) -> None:
    code = StreamRefused(cause, "why").code
    assert code == {"protocol": 1002, "format": 1003, "engine": 1011, "busy": 1013, "closing": 1013}.get(
        cause, 1008
    )


def test_the_page_about_access_explains_each_cause() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([\w, ]+) \|", Path("docs/access.md").read_text(), re.MULTILINE)
    documented = {(where.strip(), cause) for cause, wheres in rows for where in wheres.split(",")}
    assert documented == {(where, cause) for where, causes in CAUSES.items() for cause in causes}
