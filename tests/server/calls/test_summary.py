from __future__ import annotations

from moshi_phone.server.calls.call import Call
from moshi_phone.server.calls.summary import as_logfmt, summary
from moshi_phone.telephony.media_stream import Start

START = Start("MZ1", "CA1", "AC1", {}, {})


async def test_the_line_contains_the_measurements() -> None:
    call = Call(START)
    call.observations.metrics.frames = 7
    for ms in (100.2, 200.0):
        call.observations.metrics.delay.add(ms)
    said = summary(call, "the caller hung up")
    assert (said["call_sid"], said["reason"], said["frames"]) == ("CA1", "the caller hung up", 7)
    assert (said["delay_p50_ms"], said["delay_p95_ms"]) == (100, 200)


def test_values_that_would_break_the_line_are_quoted() -> None:
    line = as_logfmt({"a": 1, "b": "two words", "c": 'say "x"', "d": "", "e": "1\n2", "f": "k=v", "g": "\\"})
    assert line == r'a=1 b="two words" c="say \"x\"" d="" e="1\n2" f="k=v" g="\\"'
