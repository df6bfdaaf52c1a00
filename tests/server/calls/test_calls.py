"""server/calls/calls.py: running calls, ended calls, and their waiters."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from moshi_phone.server.calls.calls import MAX_RECENT, Calls
from moshi_phone.telephony.media_stream import Start

START = Start("MZ1", "CA" + "1" * 32, "AC1", {}, {})


async def test_a_call_moves_from_running_to_ended() -> None:
    calls = Calls()
    one, other = calls.begin(START), calls.begin(replace(START, call_sid="CA2"))
    one.observations.metrics.frames = 3
    other.observations.metrics.frames = 4
    calls.finish(one)
    assert (calls.running, list(calls.recent), calls.served) == ({other}, [one], 1)
    assert one.over
    assert calls.metrics().frames == 7
    assert calls.find(START.call_sid) is one
    assert calls.find("CA3") is None


async def test_a_running_call_is_found_before_an_ended_one_of_the_same_sid() -> None:
    calls = Calls()
    calls.finish(calls.begin(START))
    running = calls.begin(START)
    assert calls.find(START.call_sid) is running


async def test_only_the_latest_ended_calls_are_kept() -> None:
    calls = Calls()
    for number in range(MAX_RECENT + 8):
        calls.finish(calls.begin(replace(START, call_sid=f"CA{number}")))
    assert (len(calls.recent), calls.served) == (MAX_RECENT, MAX_RECENT + 8)
    assert calls.find("CA7") is None
    assert calls.find("CA8") is not None


async def test_waiting_until_idle_ends_with_the_last_call() -> None:
    calls = Calls()
    await calls.wait_until_idle()  # there is no call
    one, other = calls.begin(START), calls.begin(START)
    waiting = asyncio.ensure_future(calls.wait_until_idle())
    calls.end_all("the line is shutting down")
    assert (await one.wait_for_end())[0] == (await other.wait_for_end())[0] == "the line is shutting down"
    calls.finish(one)
    await asyncio.sleep(0)
    assert not waiting.done()
    calls.finish(other)
    await asyncio.wait_for(waiting, 10)


async def test_a_waiter_gets_the_new_call() -> None:
    calls = Calls()
    first, second = (asyncio.ensure_future(calls.begun(START.call_sid)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()  # the other one still waits
    await asyncio.sleep(0)
    call = calls.begin(START)
    assert await asyncio.wait_for(second, 10) is call


async def test_a_newer_stream_replaces_the_older_one_without_a_hang_up() -> None:
    calls = Calls()
    older, stranger = calls.begin(START), calls.begin(replace(START, call_sid="CA2"))
    calls.replace_stream(START.call_sid)
    newer = calls.begin(START)
    assert older.handed_over  # so its end does not hang up the phone call
    assert [call.end_reason is None for call in (older, newer, stranger)] == [False, True, True]
    assert not calls.has_other(newer)
