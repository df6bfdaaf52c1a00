from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from moshi_phone.server.calls.call import Call, CallOver, Calls
from moshi_phone.telephony.media_stream import Start

START = Start("MZ1", "CA" + "1" * 32, "AC1", {}, {})


async def test_the_first_reason_to_end_counts() -> None:
    call = Call(START)
    call.end("the caller hung up", 1000)
    call.end("the engine failed", 1011)
    assert await call.ended() == ("the caller hung up", 1000)


async def test_who_waits_for_the_end_and_gives_up_does_not_end_it() -> None:
    call = Call(START)
    waiting = asyncio.ensure_future(call.ended())
    await asyncio.sleep(0)
    waiting.cancel()
    call.end("over")
    assert (await call.ended())[0] == "over"


async def test_nothing_is_said_in_a_call_that_is_over() -> None:
    with pytest.raises(CallOver):
        Call(START).say("Hello.")


async def test_a_stranger_s_sid_cannot_name_a_file_elsewhere() -> None:
    began = datetime(2026, 1, 31, 12, 30, tzinfo=UTC)
    call = Call(replace(START, call_sid="../../etc/x y\0" + "z" * 99), began=began)
    assert call.file_name == "2026-01-31T12-30-00Z-etcxy" + "z" * 29


async def test_a_call_moves_from_those_that_run_to_those_that_are_over() -> None:
    calls = Calls()
    one, other = calls.begin(START), calls.begin(replace(START, call_sid="CA2"))
    one.observations.metrics.frames = 3
    other.observations.metrics.frames = 4
    calls.finish(one)
    assert (calls.running, list(calls.over), calls.served) == ({other}, [one], 1)
    assert one.over
    assert calls.metrics().frames == 7
    assert calls.find(START.call_sid) is one
    assert calls.find("CA3") is None


async def test_one_that_runs_is_found_before_one_of_its_name_that_is_over() -> None:
    calls = Calls()
    calls.finish(calls.begin(START))
    running = calls.begin(START)
    assert calls.find(START.call_sid) is running


async def test_only_the_last_few_are_remembered() -> None:
    calls = Calls()
    for number in range(40):
        calls.finish(calls.begin(replace(START, call_sid=f"CA{number}")))
    assert (len(calls.over), calls.served) == (32, 40)
    assert calls.find("CA7") is None
    assert calls.find("CA8") is not None


async def test_all_over_waits_for_the_last() -> None:
    calls = Calls()
    await calls.all_over()  # nobody is there
    one, other = calls.begin(START), calls.begin(START)
    waiting = asyncio.ensure_future(calls.all_over())
    calls.end_all("the line is shutting down")
    assert (await one.ended())[0] == (await other.ended())[0] == "the line is shutting down"
    calls.finish(one)
    await asyncio.sleep(0)
    assert not waiting.done()
    calls.finish(other)
    await asyncio.wait_for(waiting, 10)
