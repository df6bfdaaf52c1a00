from __future__ import annotations

import json
from datetime import UTC, datetime

from moshi_phone.server.calls.call import Call
from moshi_phone.server.calls.pending import PendingCall
from moshi_phone.server.calls.summary import call_report
from moshi_phone.telephony.incoming_call import IncomingCall
from moshi_phone.telephony.media_stream import Start

START = Start("MZ1", "CA1", "AC1", {}, {})


async def test_the_report_combines_the_webhook_and_the_call() -> None:
    incoming = IncomingCall("CA1", "+15551234567", "+15557654321", "inbound")
    call = Call(START, began=datetime(2026, 1, 31, 12, 30, tzinfo=UTC), expected=PendingCall(incoming))
    call.observations.transcript.add("Hello.", 0.5)
    call.observations.metrics.frames = 7
    report = json.loads(json.dumps(call_report(call, "the caller hung up", "parrot")))
    assert (report["event"], report["call_sid"], report["engine"]) == ("end", "CA1", "parrot")
    assert (report["from"], report["to"]) == ("+15551234567", "+15557654321")
    assert report["began_at"] == "2026-01-31T12:30:00Z"
    assert report["reason"] == "the caller hung up"
    assert [line["text"] for line in report["words"]] == ["Hello."]
    assert report["metrics"]["frames"] == 7
    assert report["files"] == {}


async def test_a_call_without_a_webhook_has_no_numbers() -> None:
    report = call_report(Call(START), "over", "parrot")
    assert (report["from"], report["to"], report["direction"]) == (None, None, None)
